"""timm's MixNets."""

from functools import partial

from flaxblocks.layers import ConvNormAct, Mixed
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import Gate, InvertedRow, Stages, scaled
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import PYTORCH, TENSORFLOW, Numerics, inverted_network
from flaxblocks.ops.activations import relu, silu

HALVES = partial(ConvNormAct, kernel_size=Mixed((1, 1)))
"""A 1x1 convolution in two groups."""

_relu = partial(InvertedRow, act=relu)
_half = partial(InvertedRow, act=silu, gate=Gate(lambda features, _: features // 2, act=silu))
_quarter = partial(InvertedRow, act=silu, gate=Gate(lambda features, _: features // 4, act=silu))
_K35, _K357, _K3579 = Mixed((3, 5)), Mixed((3, 5, 7)), Mixed((3, 5, 7, 9))
_K3TO11 = Mixed((3, 5, 7, 9, 11))

SMALL: Stages = (  # channels, layers, stride, expansion
    (_relu(16),),
    (
        _relu(24, 1, 2, 6, expand=HALVES, project=HALVES),
        _relu(24, 1, 1, 3, expand=HALVES, project=HALVES),
    ),
    (
        _half(40, 1, 2, 6, mixed=_K357),
        _half(40, 3, 1, 6, mixed=_K35, expand=HALVES, project=HALVES),
    ),
    (
        _quarter(80, 1, 2, 6, mixed=_K357, project=HALVES),
        _quarter(80, 2, 1, 6, mixed=_K35, project=HALVES),
    ),
    (
        _half(120, 1, 1, 6, mixed=_K357, expand=HALVES, project=HALVES),
        _half(120, 2, 1, 3, mixed=_K3579, expand=HALVES, project=HALVES),
    ),
    (
        _half(200, 1, 2, 6, mixed=_K3TO11),
        _half(200, 2, 1, 6, mixed=_K3579, project=HALVES),
    ),
)
MEDIUM: Stages = (
    (_relu(24),),
    (
        _relu(32, 1, 2, 6, mixed=_K357, expand=HALVES, project=HALVES),
        _relu(32, 1, 1, 3, expand=HALVES, project=HALVES),
    ),
    (
        _half(40, 1, 2, 6, mixed=_K3579),
        _half(40, 3, 1, 6, mixed=_K35, expand=HALVES, project=HALVES),
    ),
    (
        _quarter(80, 1, 2, 6, mixed=_K357),
        _quarter(80, 3, 1, 6, mixed=_K3579, expand=HALVES, project=HALVES),
    ),
    (
        _half(120, 1, 1, 6),
        _half(120, 3, 1, 3, mixed=_K3579, expand=HALVES, project=HALVES),
    ),
    (
        _half(200, 1, 2, 6, mixed=_K3579),
        _half(200, 3, 1, 6, mixed=_K3579, project=HALVES),
    ),
)
"""Tan and Le 2019 (MixConv), figure 6: MixNet-S and M."""


def mixnet(
    stages: Stages,
    stem_features: int,
    width: float = 1.0,
    depth: float = 1.0,
    numerics: Numerics = PYTORCH,
) -> Architecture:
    """Describe a MixNet.

    Args:
        stages: the rows of each stage.
        stem_features: channels after the stem, before scaling.
        width: factor of all channels but the last 1536.
        depth: factor of the layers, to be rounded.
        numerics: the normalization and the padding.
    """
    return inverted_network(
        scaled(stages, width=width, depth=depth, round_depth=round),
        stem_features=make_divisible(stem_features * width),
        conv_features=1536,
        act=relu,
        numerics=numerics,
    )


def _published(numerics: Numerics = PYTORCH, prefix: str = "") -> dict[str, Architecture]:
    return {
        f"{prefix}mixnet_s": mixnet(SMALL, 16, numerics=numerics),
        f"{prefix}mixnet_m": mixnet(MEDIUM, 24, numerics=numerics),
        f"{prefix}mixnet_l": mixnet(MEDIUM, 24, 1.3, numerics=numerics),
    }


NETWORKS: Networks = {
    "Tan and Le 2019 (MixConv)": {
        **_published(),
        **_published(TENSORFLOW, "tf_"),
        "mixnet_xl": mixnet(MEDIUM, 24, 1.6, 1.2),
        "mixnet_xxl": mixnet(MEDIUM, 24, 2.4, 1.3),
    },
}
