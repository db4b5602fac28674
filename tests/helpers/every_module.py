"""Every layer and block, small: each takes images of 4 x 4 pixels and 8 channels."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from inspect import isclass
from pkgutil import iter_modules
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from flaxblocks import blocks, layers
from flaxblocks.blocks.aggregation import AggregationTree, MaxPooledShortcut
from flaxblocks.blocks.atrous_pyramid import AtrousPyramid
from flaxblocks.blocks.attention_head import AttentionHead
from flaxblocks.blocks.auxiliary_head import GoogLeNetAuxiliary, InceptionAuxiliary
from flaxblocks.blocks.branched_stem import BranchedStem
from flaxblocks.blocks.conv_pair import ConvPair
from flaxblocks.blocks.dense import DenseLayer, Transition
from flaxblocks.blocks.dense_head import DeepLabHead, DenseHead, FCNHead, LRASPPHead
from flaxblocks.blocks.distilled_head import DistilledHead
from flaxblocks.blocks.fire import ConvHead, Fire
from flaxblocks.blocks.flat_head import ConvMlpHead, FlatHead
from flaxblocks.blocks.ghost import AxialGate
from flaxblocks.blocks.ghost_bottleneck import GhostBottleNeck
from flaxblocks.blocks.growing import GrowingBottleneck
from flaxblocks.blocks.inception import Branches, Unit
from flaxblocks.blocks.metaformer import NormFirstResidual, Perceptron, SelfAttention
from flaxblocks.blocks.mobile_attention import MobileAttention
from flaxblocks.blocks.multi_scale import MultiScale
from flaxblocks.blocks.norm_first import NormFirstBottleNeck
from flaxblocks.blocks.norm_free import NormFreeBottleNeck
from flaxblocks.blocks.one_shot import LightUnit, OneShotAggregation
from flaxblocks.blocks.perceptron_head import PerceptronHead
from flaxblocks.blocks.preactivation import PreActBasicBlock, PreActBottleNeck
from flaxblocks.blocks.repvit_downsample import RepViTDownsample
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.blocks.shuffle import ShuffleUnit
from flaxblocks.blocks.space_to_depth import SpaceToDepth
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.layers.affine import AffineConvNormAct
from flaxblocks.layers.attention_pool import AttentionPool
from flaxblocks.layers.bilinear_attention import BilinearAttention
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.effective_squeeze_excite import EffectiveSqueezeExcite
from flaxblocks.layers.global_context import GlobalContext
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.response_norm import GlobalResponseNorm
from flaxblocks.layers.scale_norm import rms_norm, simple_norm
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.squeeze_excite import SqueezeNormExcite
from flaxblocks.layers.star_relu import StarReLU
from flaxblocks.ops import average_pool, blur_pool, max_pool

SHAPE = (4, 4, 4, 8)


class OnOneMap(nnx.Module):
    """A module that takes more than one array, called with what `call` makes of one."""

    def __init__(
        self,
        make: Callable[..., nnx.Module],
        call: Callable[[Any, jax.Array], jax.Array],
        **arguments: Any,
    ):
        self.part = make(**arguments)
        self.call = call

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.call(self.part, x)


def _of_halves(pyramid: Any, x: jax.Array) -> jax.Array:
    return pyramid([x, x[:, ::2, ::2]])[0]


def _level_seven(extra: fb.LastLevelP6P7, x: jax.Array) -> jax.Array:
    return extra([x], [x])[1]


def _low_and_high(head: LRASPPHead, x: jax.Array) -> jax.Array:
    return head(x, x[:, ::2, ::2])


def _enlarged(head: InceptionAuxiliary, x: jax.Array) -> jax.Array:
    return head(jnp.tile(x, (1, 5, 5, 1)))


_BRANCHES = (Unit("one", 4),), (Unit("two", 2), Unit("three", 4, 3))
_LAYER_SCALE = {"layer_scale": 1.0, "skip_scale": 1.0}
_MULTI_SCALE = partial(MultiScale, scale=4, first=True)

MODULES: dict[str, Callable[..., nnx.Module]] = {
    "Conv": partial(fb.Conv, 8, 8, 3),
    "Conv depthwise": partial(fb.Conv, 8, 8, 3, groups=8, stride=2),
    "Conv grouped": partial(fb.Conv, 8, 8, 3, groups=2),
    "Linear": partial(fb.Linear, 8, 8),
    "MixedConv": partial(fb.MixedConv, 8, 8, fb.Mixed((3, 5)), groups=8),
    "StandardizedConv": partial(fb.StandardizedConv, 8, 8, 3),
    "ScaledStandardizedConv": partial(fb.ScaledStandardizedConv, 8, 8, 3, gamma=1.7),
    "InceptionConv": partial(fb.InceptionConv, 8, band=3, share=0.25),
    "BatchNorm": partial(fb.BatchNorm, 8),
    "LayerNorm": partial(fb.LayerNorm, 8),
    "GroupNorm": partial(GroupNorm, 8, num_groups=2),
    "EvoNorm": partial(fb.EvoNorm, 8, group_size=4),
    "FilterResponseNorm": partial(fb.FilterResponseNorm, 8),
    "rms_norm": partial(rms_norm, 8),
    "simple_norm": partial(simple_norm, 8),
    "GlobalResponseNorm": partial(GlobalResponseNorm, 8),
    "SqueezeExcite": partial(fb.SqueezeExcite, 8),
    "SqueezeNormExcite": partial(SqueezeNormExcite, 8, squeeze_features=4),
    "EffectiveSqueezeExcite": partial(EffectiveSqueezeExcite, 8),
    "EfficientChannelAttention": partial(EfficientChannelAttention, 8),
    "GlobalContext": partial(GlobalContext, 8, squeeze_features=4),
    "BilinearAttention": partial(BilinearAttention, 8, reduce_features=8, size=2),
    "AttentionPool": partial(AttentionPool, 8, size=(4, 4), head_features=4),
    "StarReLU": StarReLU,
    "StochasticDepth": partial(fb.StochasticDepth, 0.5),
    "ConvNormAct": partial(fb.ConvNormAct, 8, 8, act=fb.activations.hard_swish),
    "AffineConvNormAct": partial(AffineConvNormAct, 8, 8),
    "ResidualAdd": lambda *, rngs, **make: fb.ResidualAdd(
        fb.Conv1X1BnReLU(8, 8, **make, rngs=rngs)
    ),
    "BasicBlock": partial(fb.BasicBlock, 8, 8, stride=2, pool=average_pool),
    "BottleNeck": partial(fb.BottleNeck, 8, 8, se=fb.SqueezeExcite, drop_path=0.5),
    "BottleNeck pooled": partial(
        fb.BottleNeck, 8, 16, stride=2, shortcut=PooledProjection, pool=blur_pool
    ),
    "LinearBottleNeck": partial(fb.LinearBottleNeck, 8, 16),
    "InvertedResidual": partial(fb.InvertedResidual, 8, 16, 2),
    "MobileNetLikeBlock": partial(fb.MobileNetLikeBlock, 8, 8, 2),
    "DepthWiseSeparableConv": partial(fb.DepthWiseSeparableConv, 8, 8),
    "MBConv": partial(fb.MBConv, 8, 8, 2, se=fb.SqueezeExcite, act=fb.activations.silu),
    "FusedMBConv": partial(fb.FusedMBConv, 8, 8, 2, drop_path=0.5),
    "CondMBConv": partial(fb.CondMBConv, 8, 8, 2, se=fb.SqueezeExcite),
    "UniversalInvertedBottleneck": partial(UniversalInvertedBottleneck, 8, 8, 2),
    "ConvNeXtBlock": partial(fb.ConvNeXtBlock, 8, kernel_size=3, drop_path=0.5),
    "NormConv": partial(fb.NormConv, 8, 8),
    "AggregationTree": partial(
        AggregationTree,
        8,
        16,
        levels=2,
        stride=2,
        block=partial(fb.BasicBlock, shortcut=MaxPooledShortcut),
    ),
    "AtrousPyramid": partial(AtrousPyramid, 8, 8, dilations=(2, 4), drop_rate=0.5),
    "Branches": partial(Branches, 8, 8, branches=_BRANCHES),
    "ConvPair": partial(ConvPair, 8, 8),
    "CrossStagePartial": partial(
        fb.CrossStagePartial, 8, 12, blocks=(partial(fb.DarkBlock, hidden_features=4),)
    ),
    "DenseLayer": partial(DenseLayer, 8, 16),
    "Transition": partial(Transition, 8, 4),
    "Fire": partial(Fire, 8, 8, squeeze_features=4),
    "GhostModule": partial(fb.GhostModule, 8, 15, gate=AxialGate),
    "GhostBottleNeck": partial(GhostBottleNeck, 8, 16, hidden_features=12, stride=2),
    "GrowingBottleneck": partial(GrowingBottleneck, 8, 12, hidden_features=16, se=fb.SqueezeExcite),
    "MobileAttention": partial(MobileAttention, 8, 8, heads=2, head_features=4, key_stride=2),
    "MultiScale": partial(_MULTI_SCALE, 8, 8),
    "NormFirstBottleNeck": partial(NormFirstBottleNeck, 8, 16, 2),
    "NormFirstResidual": partial(
        NormFirstResidual, 8, 8, layer=Perceptron, norm=fb.LayerNorm, **_LAYER_SCALE
    ),
    "NormFreeBottleNeck": partial(NormFreeBottleNeck, 8, 8, hidden_features=4, has_gain=True),
    "OneShotAggregation": partial(
        OneShotAggregation, 8, 8, hidden_features=4, depth=2, layer=LightUnit
    ),
    "PreActBasicBlock": partial(PreActBasicBlock, 8, 8),
    "PreActBottleNeck": partial(PreActBottleNeck, 8, 8),
    "RepConv": partial(fb.RepConv, 8, 8),
    "RepViTDownsample": partial(
        RepViTDownsample,
        8,
        16,
        stride=2,
        spatial=partial(fb.RepConv, groups=8),
        mix=partial(fb.FusedMBConv, expansion=2, kernel_size=1),
    ),
    "SelfAttention": partial(SelfAttention, 8, 8, head_features=4),
    "ShuffleUnit": partial(ShuffleUnit, 8, 16, stride=2),
    "SpaceToDepth": partial(SpaceToDepth, 8, 8),
    "StarBlock": partial(fb.StarBlock, 8, 8),
    "Stem": partial(fb.Stem, 8, (8,), pool=max_pool),
    "BranchedStem": partial(BranchedStem, 8, 16, hidden_features=8),
    "FeaturePyramidNetwork": partial(
        OnOneMap, partial(fb.FeaturePyramidNetwork, [8, 8], 8), _of_halves
    ),
    "LastLevelP6P7": partial(OnOneMap, partial(fb.LastLevelP6P7, 8, 8), _level_seven),
    "Head": partial(fb.Head, 8, 4, drop_rate=0.5),
    "AttentionHead": partial(AttentionHead, 8, 4, size=(4, 4), head_features=4),
    "GoogLeNetAuxiliary": partial(GoogLeNetAuxiliary, 8, 4),
    "InceptionAuxiliary": partial(OnOneMap, partial(InceptionAuxiliary, 8, 4), _enlarged),
    "ConvHead": partial(ConvHead, 8, 4),
    "ConvMlpHead": partial(ConvMlpHead, 8, 4, size=4, hidden_features=8),
    "FlatHead": partial(FlatHead, 8, 4, size=2, hidden_features=(8, 8), drop_rate=0.5),
    "DistilledHead": partial(DistilledHead, 8, 4),
    "PerceptronHead": partial(PerceptronHead, 8, 4, norm=fb.LayerNorm, act=fb.activations.relu),
    "FCNHead": partial(FCNHead, 8, 4),
    "DeepLabHead": partial(DeepLabHead, 8, 4),
    "LRASPPHead": partial(OnOneMap, partial(LRASPPHead, 8, 4, low_features=8), _low_and_high),
}

BASES = (DenseHead, Scoped)
"""Classes that are only built upon."""


def made(name: str, dtype: type = jnp.float32) -> nnx.Module:
    """Return a module of `MODULES`, with parameters of that dtype."""
    without = name == "StochasticDepth"  # it has no parameters
    return MODULES[name](**({} if without else {"param_dtype": dtype}), rngs=nnx.Rngs(0))


def classes() -> Iterator[type[nnx.Module]]:
    """Yield the class of every layer and block that has a name for users."""
    for package in (layers, blocks):
        for file in iter_modules(package.__path__, f"{package.__name__}."):
            for kind in vars(import_module(file.name)).values():
                if isclass(kind) and issubclass(kind, nnx.Module) and kind.__module__ == file.name:
                    if not kind.__name__.startswith("_") and kind not in BASES:
                        yield kind
