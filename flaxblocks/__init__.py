"""Convolutional blocks and backbones in Flax NNX, proven equal to their PyTorch counterparts."""

from flaxblocks import ops as ops
from flaxblocks._base.allocator import keep_freed_memory as keep_freed_memory
from flaxblocks.blocks import BasicBlock as BasicBlock
from flaxblocks.blocks import BottleNeck as BottleNeck
from flaxblocks.blocks import ConvNeXtBlock as ConvNeXtBlock
from flaxblocks.blocks import DepthWiseSeparableConv as DepthWiseSeparableConv
from flaxblocks.blocks import FusedMBConv as FusedMBConv
from flaxblocks.blocks import Head as Head
from flaxblocks.blocks import InvertedResidual as InvertedResidual
from flaxblocks.blocks import LinearBottleNeck as LinearBottleNeck
from flaxblocks.blocks import MBConv as MBConv
from flaxblocks.blocks import MobileNetLikeBlock as MobileNetLikeBlock
from flaxblocks.blocks import NormConv as NormConv
from flaxblocks.blocks import ResidualAdd as ResidualAdd
from flaxblocks.blocks import Stem as Stem
from flaxblocks.create import create_model as create_model
from flaxblocks.inference import for_inference as for_inference
from flaxblocks.layers import BatchNorm as BatchNorm
from flaxblocks.layers import Conv as Conv
from flaxblocks.layers import Conv1X1BnReLU as Conv1X1BnReLU
from flaxblocks.layers import Conv3X3BnReLU as Conv3X3BnReLU
from flaxblocks.layers import ConvNormAct as ConvNormAct
from flaxblocks.layers import LayerNorm as LayerNorm
from flaxblocks.layers import Linear as Linear
from flaxblocks.layers import SqueezeExcite as SqueezeExcite
from flaxblocks.layers import StochasticDepth as StochasticDepth
from flaxblocks.models import list_models as list_models
from flaxblocks.models import model_info as model_info
from flaxblocks.ops import activations as activations
from flaxblocks.preprocess import Preprocess as Preprocess
from flaxblocks.preprocess import create_preprocess as create_preprocess
from flaxblocks.weights import load_state_dict as load_state_dict
from flaxblocks.weights import load_weights as load_weights
from flaxblocks.weights import save_weights as save_weights
from flaxblocks.weights import state_dict as state_dict

__version__ = "0.1.0"
