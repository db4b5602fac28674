"""The leaves that own parameters, and the unit that blocks are made of."""

from flaxblocks.layers.batch_norm import BatchNorm as BatchNorm
from flaxblocks.layers.cond_conv import CondConv as CondConv
from flaxblocks.layers.conv import Conv as Conv
from flaxblocks.layers.conv_norm_act import Conv1X1BnReLU as Conv1X1BnReLU
from flaxblocks.layers.conv_norm_act import Conv3X3BnReLU as Conv3X3BnReLU
from flaxblocks.layers.conv_norm_act import ConvNormAct as ConvNormAct
from flaxblocks.layers.evo_norm import EvoNorm as EvoNorm
from flaxblocks.layers.filter_response_norm import FilterResponseNorm as FilterResponseNorm
from flaxblocks.layers.inception_conv import InceptionConv as InceptionConv
from flaxblocks.layers.layer_norm import LayerNorm as LayerNorm
from flaxblocks.layers.linear import Linear as Linear
from flaxblocks.layers.mixed_conv import Mixed as Mixed
from flaxblocks.layers.mixed_conv import MixedConv as MixedConv
from flaxblocks.layers.squeeze_excite import SqueezeExcite as SqueezeExcite
from flaxblocks.layers.standardized_conv import ScaledStandardizedConv as ScaledStandardizedConv
from flaxblocks.layers.standardized_conv import StandardizedConv as StandardizedConv
from flaxblocks.layers.stochastic_depth import StochasticDepth as StochasticDepth
