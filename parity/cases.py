"""The table of blocks that every check runs over, described once for both libraries."""

from dataclasses import dataclass
from typing import Any

from flax import nnx

import flaxblocks
import torch_ref
from flaxblocks._base.module_spec import Factory, Function, Spec


@dataclass(frozen=True)
class Case:
    """A block to check."""

    name: str  # what the report calls it
    spec: Spec  # how it is built
    shape: tuple[int, int, int, int]  # shape ``(n, h, w, c)`` of the input

    def build_torch(self):
        """Return the PyTorch module."""
        return self.spec.build(torch_ref)

    def build_flax(self, seed: int = 0, **arguments: Any) -> nnx.Module:
        """Return the Flax module, with more arguments such as `dtype` where given."""
        return self.spec.build(flaxblocks, rngs=nnx.Rngs(seed), **arguments)


_SEED_SHAPE = (2, 21, 19, 32)
_SMALL = (2, 11, 13, 8)


def _seed(name: str, args: tuple[Any, ...] = (32, 64)) -> Case:
    return Case(name, Spec(name, args), _SEED_SHAPE)


def _variant(
    variant: str,
    block: str,
    args: tuple[Any, ...],
    shape: tuple[int, int, int, int] = _SMALL,
    **kwargs: Any,
) -> Case:
    return Case(f"{block}/{variant}", Spec(block, args, kwargs), shape)


_RELU, _SILU, _HARD_SWISH = map(Function, ("relu", "silu", "hard_swish"))
_EPS3 = Factory("BatchNorm", kwargs={"epsilon": 1e-3, "momentum": 0.99})
_SE_SILU = Factory("SqueezeExcite", kwargs={"squeeze_features": 2, "act": _SILU})
_SE_HARD = Factory("SqueezeExcite", kwargs={"gate": Function("hard_sigmoid")})
_REP_GHOST = Factory("RepConv", kwargs={"point": None})
_PROJECTION = Factory("ConvNormAct", kwargs={"kernel_size": 1, "act": None})
_DARK = Factory("DarkBlock", kwargs={"hidden_features": 4, "act": _RELU})
_PUBLISHED: dict[str, Any] = {"use_bias": False, "norm": _EPS3, "act": _SILU, "final_act": None}

SEED_CASES: tuple[Case, ...] = (
    _seed("ConvNormAct"),
    _seed("Conv1X1BnReLU"),
    _seed("Conv3X3BnReLU"),
    _seed("ResidualAdd", (Spec("Conv3X3BnReLU", (32, 64)), Spec("Conv1X1BnReLU", (32, 64)))),
    _seed("BottleNeck"),
    _seed("LinearBottleNeck"),
    _seed("InvertedResidual"),
    _seed("MobileNetLikeBlock"),
    _seed("DepthWiseSeparableConv"),
    _seed("MBConv"),
    _seed("FusedMBConv"),
)
"""The tutorial's blocks with its defaults, at 32 -> 64 channels."""

VARIANT_CASES: tuple[Case, ...] = (
    _variant("5x3-stride2", "ConvNormAct", (8, 12, (5, 3)), stride=(2, 1), act=_SILU),
    _variant("dilated-groups", "ConvNormAct", (8, 12), dilation=2, groups=4, use_bias=False),
    _variant("gelu-no-norm", "ConvNormAct", (8, 8), norm=None, act=Function("gelu")),
    _variant("even-kernel", "ConvNormAct", (8, 8, 4), stride=2, act=_HARD_SWISH),
    _variant("identity", "ResidualAdd", (Spec("MBConv", (8, 8)),)),
    _variant("default", "SqueezeExcite", (8,)),
    _variant("hard", "SqueezeExcite", (8,), ratio=0.5, gate=Function("hard_sigmoid")),
    _variant("identity", "BottleNeck", (8, 8, 2)),
    _variant("stride2", "BottleNeck", (8, 16, 2), stride=2),
    _variant(
        "resnext",
        "BottleNeck",
        (8, 16, 2),
        groups=4,
        use_bias=False,
        stride=2,
        shortcut=_PROJECTION,
    ),
    _variant("dilated", "BottleNeck", (8, 16, 2), dilation=2),
    _variant("se", "BottleNeck", (8, 16, 2), se=Factory("SqueezeExcite"), spatial_se=_SE_HARD),
    _variant("identity", "LinearBottleNeck", (8, 8, 2), (1, 9, 7, 8)),
    _variant("stride2", "InvertedResidual", (8, 12, 2), stride=2, groups=2, shortcut=_PROJECTION),
    _variant("identity", "MobileNetLikeBlock", (8, 8, 2), (3, 7, 8, 8)),
    _variant("stride2", "MobileNetLikeBlock", (8, 8, 2), stride=2),
    _variant("padded", "DepthWiseSeparableConv", (8, 12), padding=1, stride=2, use_bias=False),
    _variant("identity", "MBConv", (8, 8), (1, 8, 7, 8)),
    _variant("stride2-5x5", "MBConv", (8, 12), kernel_size=5, stride=2),
    _variant("expansion1", "MBConv", (8, 8, 1)),
    _variant("dilated", "MBConv", (8, 8, 2), dilation=2),
    _variant("efficientnet", "MBConv", (8, 8, 6), se=_SE_SILU, **_PUBLISHED),
    _variant("mobilenetv3", "MBConv", (8, 8), hidden_features=20, se=_SE_HARD, act=_HARD_SWISH),
    _variant("identity", "FusedMBConv", (8, 8)),
    _variant("expansion1", "FusedMBConv", (8, 8, 1), **_PUBLISHED),
    _variant("mixed", "MBConv", (8, 12, 3), stride=2, kernel_size=Spec("Mixed", ((3, 5, 7),))),
    _variant("evo-norm", "ConvNormAct", (8, 8), norm=Factory("EvoNorm", kwargs={"group_size": 4})),
    _variant("identity", "CondMBConv", (8, 8, 2), experts=3),
    _variant("scaled", "ScaledStandardizedConv", (8, 12, 3), stride=2, groups=2, gamma=1.7),
    _variant("repvgg", "RepConv", (8, 8)),
    _variant("mobileone", "RepConv", (8, 8), stride=2, groups=8, branches=3),
    _variant("odd", "GhostModule", (16, 31), (2, 11, 13, 16)),
    _variant("repghost", "GhostModule", (16, 16), (2, 11, 13, 16), keep=False, cheap=_REP_GHOST),
    _variant("csp", "CrossStagePartial", (8, 12), blocks=(_DARK,), act=_RELU),
    _variant("c3", "CrossStagePartial", (8, 8), blocks=(_DARK,), mixes=False, act=_RELU),
    _variant("edge", "DarkBlock", (8, 8), hidden_features=12, kernel_sizes=(3, 1), act=_RELU),
    _variant("narrow", "StarBlock", (8, 8), expansion=2, kernel_size=5),
    _variant("bands", "InceptionConv", (8,), band=5, share=0.25),
    _variant("caffe", "BottleNeck", (8, 16, 2), stride=2, early_stride=True),
    _variant("stride2-se", "FusedMBConv", (8, 12), stride=2, se=_SE_SILU),
)
"""What published networks vary: strides, kernels, groups, dilation, gates, eps, activations."""

CASES = SEED_CASES + VARIANT_CASES
