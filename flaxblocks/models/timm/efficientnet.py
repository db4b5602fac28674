"""timm's EfficientNets."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from flaxblocks.blocks import FusedMBConv
from flaxblocks.layers import EvoNorm, LayerNorm
from flaxblocks.layers.global_context import GlobalContext
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.efficientnet import GATE, TABLE_1, V2_L, V2_M, V2_S
from flaxblocks.models.inverted import InvertedRow, Stages, scaled, stages_of_one
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import (
    PYTORCH,
    TENSORFLOW,
    Numerics,
    blur_pool_in_zeros,
    inverted_network,
    restyled,
)
from flaxblocks.ops.activations import Activation, relu, relu6, silu

_row = partial(InvertedRow, act=silu, gate=GATE)
_fused = partial(InvertedRow, act=silu, block=FusedMBConv)

V2_XL = stages_of_one(  # channels, layers, stride, expansion
    _fused(32, 4, 1, 1),
    _fused(64, 8, 2, 4),
    _fused(96, 8, 2, 4),
    _row(192, 16, 2, 4),
    _row(256, 24, 1, 6),
    _row(512, 32, 2, 6),
    _row(640, 8, 1, 6),
)
V2_BASE = stages_of_one(
    _fused(16, 1, 1, 1),
    _fused(32, 2, 2, 4),
    _fused(48, 2, 2, 4),
    _row(96, 3, 2, 4),
    _row(112, 5, 1, 6),
    _row(192, 8, 2, 6),
)
"""EfficientNetV2-XL and B0, as the authors released them."""

V2_FIGURE = (
    (_fused(24, 2, 1, 1, always_expand=True),),
    *V2_S[1:-1],
    (_row(272, 15, 2, 6),),
)
"""EfficientNetV2-S as timm built it from the paper's table, before the official release."""

TEST = stages_of_one(
    _fused(16, 1, 1, 1),
    _fused(24, 1, 2, 4),
    _fused(32, 1, 2, 4),
    _row(48, 1, 2, 4),
    _row(64, 1, 2, 4),
)
"""A tiny network for timm's own tests."""

_network = partial(inverted_network, family="efficientnet")
_at_most_rounded_down = partial(make_divisible, least=0.0)


def efficientnet(
    width: float,
    depth: float,
    numerics: Numerics = PYTORCH,
    *,
    divisor: int = 8,
    group_size: int | None = None,
    pool: Activation | None = None,
) -> Architecture:
    """Describe an EfficientNet.

    Args:
        width: factor of the channels.
        depth: factor of the layers.
        numerics: the normalization and the padding.
        divisor: what the channels are multiples of.
        group_size: channels that the spatial kernels mix; None for one.
        pool: takes the place of the blocks' strides; None for none.
    """
    round_width = partial(make_divisible, divisor=divisor)
    stages = tuple(
        tuple(replace(row, group_size=group_size, pool=pool) for row in rows) for rows in TABLE_1
    )
    return _network(
        scaled(stages, width=width, depth=depth, round_width=round_width),
        stem_features=round_width(32 * width),
        conv_features=round_width(1280 * width),
        act=silu,
        numerics=numerics,
    )


def lite(width: float, depth: float, numerics: Numerics = PYTORCH) -> Architecture:
    """Describe an EfficientNet-Lite: without gates, its stem and head unscaled."""
    inner = (depth,) * (len(TABLE_1) - 2)
    return _network(
        scaled(restyled(TABLE_1, relu6), width=width, depth=(1, *inner, 1)),
        stem_features=32,
        conv_features=1280,
        act=relu6,
        numerics=numerics,
    )


def edge(width: float, depth: float, numerics: Numerics = PYTORCH) -> Architecture:
    """Describe an EfficientNet-EdgeTPU.

    Its first blocks expand by a multiple of their output channels.
    """
    first = make_divisible(4 * make_divisible(24 * width))
    stages = stages_of_one(
        InvertedRow(24, 1, hidden_features=first, block=FusedMBConv, residual=False),
        InvertedRow(32, 2, 2, 8, block=FusedMBConv),
        InvertedRow(48, 4, 2, 8, block=FusedMBConv),
        InvertedRow(96, 5, 2, 8, kernel_size=5),
        InvertedRow(144, 4, 1, 8, kernel_size=5),
        InvertedRow(192, 2, 2, 8, kernel_size=5),
    )
    return _network(
        scaled(stages, width=width, depth=depth),
        stem_features=make_divisible(32 * width),
        conv_features=make_divisible(1280 * width),
        act=relu,
        numerics=numerics,
    )


def version2(
    stages: Stages,
    width: float = 1.0,
    depth: float | Sequence[float] = 1.0,
    numerics: Numerics = PYTORCH,
    *,
    head_features: int = 1280,
) -> Architecture:
    """Describe an EfficientNetV2, see `efficientnet`."""
    return _network(
        scaled(stages, width=width, depth=depth),
        stem_features=make_divisible(stages[0][0].features * width),
        conv_features=make_divisible(head_features * width),
        act=silu,
        numerics=numerics,
    )


def version2_base(
    stages: Stages,
    width: float = 1.0,
    depth: float = 1.0,
    numerics: Numerics = PYTORCH,
    *,
    stem_features: int = 32,
    head_features: int = 1280,
) -> Architecture:
    """Describe an EfficientNetV2-B; rounding may take more than 10 % of its channels."""
    return _network(
        scaled(stages, width=width, depth=depth, round_width=_at_most_rounded_down),
        stem_features=_at_most_rounded_down(stem_features * width),
        conv_features=_at_most_rounded_down(head_features * width),
        act=silu,
        numerics=numerics,
    )


def _with_global_context(stages: Stages) -> Stages:
    """Return a table whose gates look at the global context."""
    gate = replace(GATE, layer=GlobalContext)
    return tuple(tuple(replace(row, gate=row.gate and gate) for row in rows) for rows in stages)


SCALES = {  # width, depth
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
    "b8": (2.2, 3.6),
    "l2": (4.3, 5.3),
}
EDGE_SCALES = {"es": (1.0, 1.0), "em": (1.0, 1.1), "el": (1.2, 1.4)}
V2_STAGES = {"s": V2_S, "m": V2_M, "l": V2_L, "xl": V2_XL}


def _version1(numerics: Numerics = PYTORCH, prefix: str = "") -> dict[str, Architecture]:
    """Return the EfficientNets, EfficientNet-Lites and EfficientNet-EdgeTPUs by name."""
    lites = list(SCALES.values())[:5]
    rows = (
        {name: efficientnet(*scale, numerics) for name, scale in SCALES.items()}
        | {f"lite{number}": lite(*scale, numerics) for number, scale in enumerate(lites)}
        | {name: edge(*scale, numerics) for name, scale in EDGE_SCALES.items()}
    )
    return {f"{prefix}efficientnet_{name}": network for name, network in rows.items()}


def _version2(numerics: Numerics = PYTORCH, prefix: str = "") -> dict[str, Architecture]:
    """Return the EfficientNetV2s by name."""
    return {
        f"{prefix}efficientnetv2_{name}": version2(stages, numerics=numerics)
        for name, stages in V2_STAGES.items()
    }


GROUPS_OF_8 = Numerics(partial(GroupNorm, group_size=8))
GROUPS_OF_16 = Numerics(partial(GroupNorm, group_size=16))

_test = partial(version2_base, TEST, stem_features=24, head_features=256)

NETWORKS: Networks = {
    "Tan and Le 2019": {
        **_version1(),
        **_version1(TENSORFLOW, "tf_"),
        "efficientnet_es_pruned": edge(*EDGE_SCALES["es"]),
        "efficientnet_el_pruned": edge(*EDGE_SCALES["el"]),
        "efficientnet_blur_b0": efficientnet(1.0, 1.0, pool=blur_pool_in_zeros),
        "efficientnet_b0_g16_evos": efficientnet(1.0, 1.0, divisor=16, group_size=16),
        "efficientnet_b0_gn": efficientnet(1.0, 1.0, GROUPS_OF_8),
        "efficientnet_b0_g8_gn": efficientnet(1.0, 1.0, GROUPS_OF_8, group_size=8),
        "efficientnet_b3_gn": efficientnet(1.2, 1.4, GROUPS_OF_16, divisor=16),
        "efficientnet_b3_g8_gn": efficientnet(1.2, 1.4, GROUPS_OF_16, divisor=16, group_size=8),
    },
    "Tan and Le 2021 (EfficientNetV2)": {
        **_version2(),
        **_version2(TENSORFLOW, "tf_"),
        "efficientnetv2_rw_t": version2(V2_S, 0.8, 0.9),
        "gc_efficientnetv2_rw_t": version2(_with_global_context(V2_S), 0.8, 0.9),
        "efficientnetv2_rw_s": version2(V2_FIGURE, head_features=1792),
        "efficientnetv2_rw_m": version2(
            V2_FIGURE, 1.2, (1.2, 1.2, 1.2, 1.2, 1.6, 1.6), head_features=1792
        ),
        "tf_efficientnetv2_b0": version2_base(V2_BASE, 1.0, 1.0, TENSORFLOW),
        "tf_efficientnetv2_b1": version2_base(V2_BASE, 1.0, 1.1, TENSORFLOW),
        "tf_efficientnetv2_b2": version2_base(V2_BASE, 1.1, 1.2, TENSORFLOW),
        "tf_efficientnetv2_b3": version2_base(V2_BASE, 1.2, 1.4, TENSORFLOW),
        "test_efficientnet": _test(),
        "test_efficientnet_evos": _test(numerics=Numerics(partial(EvoNorm, group_size=8))),
        "test_efficientnet_gn": _test(numerics=GROUPS_OF_8),
        "test_efficientnet_ln": _test(numerics=Numerics(LayerNorm)),
    },
}
