"""timm's networks of blocks of several kinds, each of which a table puts together."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks import BasicBlock, BottleNeck, Head, Stem, projection
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.bilinear_attention import BilinearAttention
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.global_context import GlobalContext
from flaxblocks.layers.initializers import kaiming_normal_in, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, StageRow, dilate_after_first
from flaxblocks.models.dilation import dilate_all, refuse
from flaxblocks.models.resnet import STRIDES
from flaxblocks.models.timm.rep import INITIALIZATION, squeeze_excite
from flaxblocks.ops.activations import Activation, relu, silu

Kind = Callable[[int, ModuleFactory | None], ModuleFactory]
"""Returns what makes a stage's blocks, from its channels and what makes their gates."""


# Gates


def context(
    features: int,
    *,
    param_dtype: jnp.dtype | type = jnp.float32,
    rngs: nnx.Rngs,
    **arguments: Any,
) -> GlobalContext:
    """Make what adds a context, squeezed to an eighth of the channels, at first a constant one."""
    make: dict[str, Any] = {"param_dtype": param_dtype, "rngs": rngs, **arguments}
    gate = GlobalContext(features, squeeze_features=features // 8, gate=None, **make)
    for conv, draw in ((gate.attend, kaiming_normal_in), (gate.expand, zeros)):
        conv.kernel = nnx.Param(draw(rngs.params(), conv.kernel.shape, param_dtype))
    return gate


def bilinear(features: int, **arguments: Any) -> BilinearAttention:
    """Make attention on a quarter of the channels, over 8 blocks of rows and of columns."""
    return BilinearAttention(features, reduce_features=features // 4, size=8, **arguments)


SE = squeeze_excite
SE_4 = partial(squeeze_excite, ratio=0.25)
ECA = EfficientChannelAttention


# Kinds of blocks


def basic(
    features: int,
    gate: ModuleFactory | None,
    *,
    ratio: float = 1,
    shortcut: ModuleFactory = projection,
) -> ModuleFactory:
    """Return the maker of two 3x3 convolutions."""
    return partial(BasicBlock, hidden_features=int(features * ratio), shortcut=shortcut, se=gate)


def edge(
    features: int,
    gate: ModuleFactory | None,
    *,
    ratio: float = 1,
    shortcut: ModuleFactory = projection,
) -> ModuleFactory:
    """Return the maker of a 3x3 convolution and a 1x1 one."""
    make = partial(BasicBlock, second_kernel_size=1, hidden_se=gate)
    return partial(make, hidden_features=int(features * ratio), shortcut=shortcut)


def dark(
    features: int, gate: ModuleFactory | None, *, ratio: float, shortcut: ModuleFactory
) -> ModuleFactory:
    """Return the maker of a 1x1 convolution and a 3x3 one."""
    make = partial(BasicBlock, kernel_size=1, second_kernel_size=3, se=gate)
    return partial(make, hidden_features=int(features * ratio), shortcut=shortcut)


def bottle(
    features: int,
    gate: ModuleFactory | None,
    *,
    ratio: float = 1 / 4,
    group_width: int | None = None,
    shortcut: ModuleFactory = projection,
    spatial: ModuleFactory | None = None,
) -> ModuleFactory:
    """Return the maker of a bottleneck, or of an inverted one where `ratio` exceeds 1."""
    hidden = int(features * ratio)
    parts = {} if spatial is None else {"spatial": spatial}
    return partial(
        BottleNeck,
        hidden_features=hidden,
        groups=_groups(hidden, group_width),
        shortcut=shortcut,
        spatial_se=gate,
        **parts,
    )


def inverted(
    features: int, gate: ModuleFactory | None, *, expansion: int, group_width: int
) -> ModuleFactory:
    """Return the maker of bottlenecks that widen their inputs (RegNetZ)."""
    return partial(_widened, expansion=expansion, group_width=group_width, spatial_se=gate)


def _widened(
    in_features: int,
    out_features: int,
    *,
    expansion: int,
    group_width: int,
    final_act: Activation,
    **arguments: Any,
) -> BottleNeck:
    """Make a bottleneck that ends in a sum, without one where the shape changes."""
    hidden = expansion * in_features
    return BottleNeck(
        in_features,
        out_features,
        hidden_features=hidden,
        groups=_groups(hidden, group_width),
        shortcut=None,
        final_act=None,
        **arguments,
    )


def _groups(features: int, group_width: int | None) -> int:
    return 1 if group_width is None else features // group_width


def tiered(features: int, pool: Activation | None = None, **parts: Any) -> partial[Stem]:
    """Return the maker of three 3x3 convolutions, of which the last halves where no pool does."""
    widths = (3 * features // 8, features // 2, features)
    stride = (2, 1, 2 if pool is None else 1)
    return partial(Stem, features=widths, stride=stride, pool=pool, **parts)


def quad(features: int, **parts: Any) -> partial[Stem]:
    """Return the maker of four 3x3 convolutions, each twice as wide as the one before."""
    widths = tuple(features // 2**step for step in (3, 2, 1, 0))
    return partial(Stem, features=widths, stride=(2, 1, 1, 2), **parts)


def _dilate(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage; a pooled shortcut pools only where the map before is dilated."""
    kind: Any = row.blocks[0]
    is_basic = kind.func is BasicBlock and "second_kernel_size" not in kind.keywords
    row = (dilate_all if is_basic else dilate_after_first)(row, before, dilation)
    first, *rest = row.blocks
    if is_basic:
        first = partial(first, first_dilation=before)
    if "pool" in kind.keywords:
        first = partial(first, pool=None)
    if kind.keywords.get("shortcut") is PooledProjection and before > 1:
        first = partial(first, shortcut=partial(PooledProjection, dilated=True))
    return replace(row, blocks=(first, *rest))


def byobnet(
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    kinds: Kind | tuple[Kind, ...],
    *,
    stem: Callable[..., Stem],
    strides: tuple[int, ...] = STRIDES,
    gate: ModuleFactory | None = None,
    act: Activation = silu,
    norm: ModuleFactory = BatchNorm,
    pool: Activation | None = None,
    head: Callable[..., Head] = Head,
    num_classes: int = 1000,
) -> Architecture:
    """Describe a network.

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        kinds: what the blocks are, of all stages or of each.
        stem: makes the first layers, with `act` and `norm` besides its own arguments.
        strides: step of each stage in pixels.
        gate: makes each block's gate; None for none.
        act: activation of all layers.
        norm: makes each normalization.
        pool: takes the place of the spatial convolution's stride, see `BottleNeck`.
        head: makes the last layers.
        num_classes: length of the output where the caller gives none.
    """
    each = (kinds,) * len(depths) if callable(kinds) else kinds
    parts = {"use_bias": False, "act": act, "final_act": act, "norm": norm}

    def stage(kind: Kind, depth: int, before: int, features: int, stride: int) -> StageRow:
        block = partial(kind(features, gate), **parts)
        first = block if pool is None or stride == 1 else partial(block, pool=pool)
        # Without its stride a stage as wide as the one before would lose its first shortcut.
        dilate = refuse if before == features and stride > 1 else _dilate
        return StageRow(features, stride, (first, *(block,) * (depth - 1)), dilate=dilate)

    return Architecture(
        stem=partial(stem, act=act, norm=norm),
        stages=tuple(map(stage, each, depths, (0, *widths), widths, strides)),
        head=head,
        initialization=INITIALIZATION,
        family="byobnet",
        num_classes=num_classes,
    )


plain = partial(byobnet, act=relu)
