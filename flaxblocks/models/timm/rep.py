"""timm's RepVGG and MobileOne: parallel convolutions, which `for_inference` makes one."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks import Head, RepConv, Stem
from flaxblocks.layers import BatchNorm, SqueezeExcite
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.dilation import refuse
from flaxblocks.models.scaling import make_divisible

INITIALIZATION = Initialization(
    conv=kaiming_normal,
    conv_bias=zeros,
    linear=Normal(0.01),
    linear_bias=zeros,
    residual_scale=zeros,
    fan_out_of_group=True,
)

FEATURES = (64, 128, 256, 512)


def squeeze_excite(
    features: int, *, ratio: float = 1 / 16, divisor: int = 8, **arguments: Any
) -> SqueezeExcite:
    """Make a gate whose narrow width is the nearest multiple of a number."""
    squeezed = make_divisible(features * ratio, divisor, least=0)
    return SqueezeExcite(features, squeeze_features=squeezed, **arguments)


def drawn_norm(
    features: int, *, param_dtype: jnp.dtype | type = jnp.float32, rngs: nnx.Rngs, **arguments: Any
) -> BatchNorm:
    """Make a normalization with a scale of about 0.1 and a shift of about 0, both drawn."""
    norm = BatchNorm(features, param_dtype=param_dtype, rngs=rngs, **arguments)
    draw = Normal(0.1)
    norm.scale = nnx.Param(draw(rngs.params(), (features,), param_dtype) + 0.1)
    norm.bias = nnx.Param(draw(rngs.params(), (features,), param_dtype))
    return norm


def _network(stem: partial[Stem], stages: Iterable[StageRow], family: str) -> Architecture:
    return Architecture(
        stem=stem, stages=tuple(stages), head=Head, initialization=INITIALIZATION, family=family
    )


# RepVGG


def repvgg(
    depths: tuple[int, int, int, int],
    widths: tuple[float, float, float, float],
    *,
    groups: int = 1,
    gate: ModuleFactory | None = None,
) -> Architecture:
    """Describe a RepVGG.

    Args:
        depths: blocks of each stage.
        widths: factors of the stages' channels, of which the first is the stem's too, where it
            is below 1.
        groups: groups of every second block's convolutions.
        gate: makes the gate of each block; None for none.

    Source: Ding et al. 2021, table 2 and section 3.4.
    """
    conv = partial(RepConv, skip=drawn_norm, se=gate)
    block = partial(conv, norm=drawn_norm)
    pair = (block, partial(block, groups=groups))
    stages = (
        StageRow(int(features * factor), 2, tuple(pair[place % 2] for place in range(depth)))
        for features, factor, depth in zip(FEATURES, widths, depths, strict=True)
    )
    first = int(FEATURES[0] * min(1, widths[0]))
    stem = partial(Stem, features=(first,), conv=conv, norm=drawn_norm)
    return _network(stem, stages, "repvgg")


A = (2, 4, 14, 1)
B = (4, 6, 16, 1)

# MobileOne


def mobileone(
    widths: tuple[float, float, float, float],
    *,
    branches: int = 1,
    gated: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Architecture:
    """Describe a MobileOne.

    Args:
        widths: factors of the stages' channels, of which the first is the stem's too, where it
            is below 1.
        branches: parallel convolutions of each kind, but for the stem's.
        gated: how many depthwise convolutions, with the pointwise ones after them, at the end of
            each stage have gates.

    Source: Vasu et al. 2022, tables 2 and 3.
    """
    first = before = int(FEATURES[0] * min(1, widths[0]))
    stages: list[StageRow] = []
    for features, factor, depth, gates in zip(FEATURES, widths, (2, 8, 10, 1), gated, strict=True):
        width = int(features * factor)
        se = (None,) * (depth - gates) + (squeeze_excite,) * gates
        stages.append(_mobileone_stage(before, width, branches, se))
        before = width
    return _network(partial(Stem, features=(first,), conv=RepConv), stages, "mobileone")


def _mobileone_stage(
    before: int, width: int, branches: int, gates: Sequence[ModuleFactory | None]
) -> StageRow:
    """Return depthwise convolutions, each with a pointwise one after it."""
    blocks: list[ModuleFactory] = []
    widths: list[int] = []
    for place, se in enumerate(gates):
        channels = width if place else before
        make = partial(RepConv, branches=branches, se=se)
        blocks += [partial(make, groups=channels), partial(make, kernel_size=1)]
        widths += [channels, width]
    return StageRow(width, 2, tuple(blocks), widths=tuple(widths), dilate=refuse)


NETWORKS: Networks = {
    "Ding et al. 2021 (RepVGG)": {
        "repvgg_a0": repvgg(A, (0.75, 0.75, 0.75, 2.5)),
        "repvgg_a1": repvgg(A, (1, 1, 1, 2.5)),
        "repvgg_a2": repvgg(A, (1.5, 1.5, 1.5, 2.75)),
        "repvgg_b0": repvgg(B, (1, 1, 1, 2.5)),
        "repvgg_b1": repvgg(B, (2, 2, 2, 4)),
        "repvgg_b1g4": repvgg(B, (2, 2, 2, 4), groups=4),
        "repvgg_b2": repvgg(B, (2.5, 2.5, 2.5, 5)),
        "repvgg_b2g4": repvgg(B, (2.5, 2.5, 2.5, 5), groups=4),
        "repvgg_b3": repvgg(B, (3, 3, 3, 5)),
        "repvgg_b3g4": repvgg(B, (3, 3, 3, 5), groups=4),
        "repvgg_d2se": repvgg(
            (8, 14, 24, 1), (2.5, 2.5, 2.5, 5), gate=partial(squeeze_excite, divisor=1)
        ),
    },
    "Vasu et al. 2022 (MobileOne)": {
        "mobileone_s0": mobileone((0.75, 1, 1, 2), branches=4),
        "mobileone_s1": mobileone((1.5, 1.5, 2, 2.5)),
        "mobileone_s2": mobileone((1.5, 2, 2.5, 4)),
        "mobileone_s3": mobileone((2, 2.5, 3, 4)),
        "mobileone_s4": mobileone((3, 3.5, 3.5, 4), gated=(0, 0, 5, 1)),
    },
}
