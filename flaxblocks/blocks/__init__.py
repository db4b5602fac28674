"""The residual, bottleneck and mobile blocks."""

from flaxblocks.blocks.basic import BasicBlock as BasicBlock
from flaxblocks.blocks.bottleneck import BottleNeck as BottleNeck
from flaxblocks.blocks.bottleneck import LinearBottleNeck as LinearBottleNeck
from flaxblocks.blocks.convnext import ConvNeXtBlock as ConvNeXtBlock
from flaxblocks.blocks.convnext import NormConv as NormConv
from flaxblocks.blocks.head import Head as Head
from flaxblocks.blocks.inverted_residual import InvertedResidual as InvertedResidual
from flaxblocks.blocks.inverted_residual import MobileNetLikeBlock as MobileNetLikeBlock
from flaxblocks.blocks.mbconv import FusedMBConv as FusedMBConv
from flaxblocks.blocks.mbconv import MBConv as MBConv
from flaxblocks.blocks.rep_conv import RepConv as RepConv
from flaxblocks.blocks.residual import ResidualAdd as ResidualAdd
from flaxblocks.blocks.residual import projection as projection
from flaxblocks.blocks.separable import DepthWiseSeparableConv as DepthWiseSeparableConv
from flaxblocks.blocks.stem import Stem as Stem
