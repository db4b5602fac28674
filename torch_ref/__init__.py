"""The reference: the same blocks in plain `torch.nn` over NCHW, to be checked by eye.

Names, arguments, attribute names and the order of children are those of flaxblocks.
"""

from torch_ref import activations as activations
from torch_ref.blocks import BottleNeck as BottleNeck
from torch_ref.blocks import DepthWiseSeparableConv as DepthWiseSeparableConv
from torch_ref.blocks import InvertedResidual as InvertedResidual
from torch_ref.blocks import LinearBottleNeck as LinearBottleNeck
from torch_ref.blocks import MobileNetLikeBlock as MobileNetLikeBlock
from torch_ref.blocks import ResidualAdd as ResidualAdd
from torch_ref.cond import CondConv as CondConv
from torch_ref.cond import CondMBConv as CondMBConv
from torch_ref.cross_stage import CrossStagePartial as CrossStagePartial
from torch_ref.cross_stage import DarkBlock as DarkBlock
from torch_ref.ghost import GhostModule as GhostModule
from torch_ref.inception import InceptionConv as InceptionConv
from torch_ref.layers import BatchNorm as BatchNorm
from torch_ref.layers import Conv as Conv
from torch_ref.layers import Conv1X1BnReLU as Conv1X1BnReLU
from torch_ref.layers import Conv3X3BnReLU as Conv3X3BnReLU
from torch_ref.layers import ConvNormAct as ConvNormAct
from torch_ref.layers import EvoNorm as EvoNorm
from torch_ref.layers import Mixed as Mixed
from torch_ref.layers import MixedConv as MixedConv
from torch_ref.layers import SqueezeExcite as SqueezeExcite
from torch_ref.layers import StochasticDepth as StochasticDepth
from torch_ref.mbconv import FusedMBConv as FusedMBConv
from torch_ref.mbconv import MBConv as MBConv
from torch_ref.rep import RepConv as RepConv
from torch_ref.standardized import ScaledStandardizedConv as ScaledStandardizedConv
from torch_ref.star import StarBlock as StarBlock
