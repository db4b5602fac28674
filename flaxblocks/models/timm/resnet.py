"""timm's ResNets: the variants of stem, shortcut, gate and pooling."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.residual import PooledProjection, projection
from flaxblocks.layers import BatchNorm, ConvNormAct, SqueezeExcite
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.initializers import Initialization, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, StageRow
from flaxblocks.models.resnet import NARROW, STRIDES, WIDE, Widths, basic, bottleneck, dilate
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops import average_pool, blur_pool, max_pool
from flaxblocks.ops.activations import Activation

NORMAL = bottleneck()

Blocks = ModuleFactory | tuple[ModuleFactory, ...]
"""What makes the blocks of a stage: all of them, or each."""

INITIALIZATION = Initialization(conv=kaiming_normal, residual_scale=zeros)


@dataclass(frozen=True)
class Style:
    """How a ResNet variant, named by a letter, differs from the original in stem and shortcuts.

    Args:
        stem: channels after each convolution of the stem: one of 7x7, or several of 3x3.
        shortcut: makes the other branch where the shape changes.

    Source: He et al. 2019, section 4.1 (C and D); the other letters are timm's and GluonCV's.
    """

    stem: tuple[int, ...] = (64,)
    shortcut: ModuleFactory = projection


def wide_projection(
    in_features: int, out_features: int, *, stride: tuple[int, int], **arguments: Any
) -> ConvNormAct:
    """Make a shortcut of a 3x3 convolution where it halves the size, else of a 1x1 one."""
    kernel_size = 1 if stride == (1, 1) else 3
    return ConvNormAct(in_features, out_features, kernel_size, stride=stride, act=None, **arguments)


B = Style()
C = Style((32, 32, 64))
D = Style((32, 32, 64), PooledProjection)
E = Style((64, 64, 128), PooledProjection)
S = Style((64, 64, 128))
WIDER_S = Style((64, 64, 128), wide_projection)
T = Style((24, 32, 64), PooledProjection)
LIGHT = Style((64,), PooledProjection)


@dataclass(frozen=True)
class Halving:
    """Pooling that takes the place of a convolution's stride.

    Args:
        stem: what ends the stem; None for one more convolution of stride 2 (ResNet-RS).
        block: what follows the 3x3 convolution in a stage's first block; None for its stride.
        dilated: what follows it where dilation takes the place of halving.
    """

    stem: Activation | None = max_pool
    block: Activation | None = None
    dilated: Activation | None = None


def blurred_max_pool(x: jax.Array) -> jax.Array:
    """Max-pool with stride 1, then blur and keep every second pixel.

    Source: Zhang 2019, section 3.2, "MaxBlurPool".
    """
    return blur_pool(max_pool(x, stride=1))


MAX = Halving()
AVERAGE = Halving(average_pool, average_pool)
BLUR = Halving(blurred_max_pool, blur_pool, partial(blur_pool, stride=1))
CONVOLVE = Halving(None)


def squeeze_excite(features: int, *, ratio: float = 1 / 16, **arguments: Any) -> SqueezeExcite:
    """Make a gate whose narrow width is a multiple of 8."""
    squeezed = make_divisible(ratio * features, least=0)
    return SqueezeExcite(features, squeeze_features=squeezed, **arguments)


SE = squeeze_excite
SE_RS = partial(squeeze_excite, ratio=0.25)
ECA = EfficientChannelAttention


def _stem(style: Style, halving: Halving, norm: ModuleFactory) -> partial[Stem]:
    """Return the maker of a stem; only its first convolution and what ends it have a stride."""
    features, strides = style.stem, (2, *(1 for _ in style.stem[1:]))
    if halving.stem is None:
        features, strides = (*features, features[-1]), (*strides, 2)
    return partial(
        Stem,
        features=features,
        kernel_size=7 if len(style.stem) == 1 else 3,
        stride=strides,
        norm=norm,
        pool=halving.stem,
    )


def _dilated(shortcut: ModuleFactory, dilation: int) -> ModuleFactory:
    """Return the shortcut that pools, or sees 3x3 pixels, although its stride is 1."""
    if shortcut is PooledProjection:
        return partial(PooledProjection, dilated=True)
    if shortcut is wide_projection:
        return partial(projection, kernel_size=3, dilation=dilation)
    return shortcut


def _dilate(style: Style, halving: Halving, row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage."""
    row = dilate(row, before, dilation)
    first, *rest = row.blocks
    first = partial(first, pool=halving.dilated)
    first = partial(first, shortcut=_dilated(style.shortcut, before))
    return replace(row, blocks=(first, *rest))


def resnet(
    depths: tuple[int, ...],
    block: Blocks | tuple[Blocks, ...] = NORMAL,
    style: Style = B,
    *,
    gate: ModuleFactory | None = None,
    halving: Halving = MAX,
    widths: Widths = WIDE,
    norm: ModuleFactory = BatchNorm,
) -> Architecture:
    """Describe a residual network as timm has it.

    Args:
        depths: blocks of each stage.
        block: makes the blocks, see `StageRow`: for all stages or for each.
        style: the stem's convolutions and the shortcuts.
        gate: makes the gate at the end of each residual branch; None for what the blocks have.
        halving: how the size is halved.
        widths: channels of the stages; the stem's are the style's.
        norm: makes each normalization.
    """
    blocks = (block,) * len(depths) if callable(block) else block
    parts = {"shortcut": style.shortcut, "norm": norm} | ({} if gate is None else {"se": gate})

    def stage(make: Blocks, features: int, stride: int, depth: int) -> StageRow:
        each = (make,) * depth if callable(make) else make
        first, *rest = (partial(block, **parts) for block in each)
        first = partial(first, pool=halving.block) if stride > 1 else first
        return StageRow(features, stride, (first, *rest), dilate=partial(_dilate, style, halving))

    return Architecture(
        stem=_stem(style, halving, norm),
        stages=tuple(map(stage, blocks, widths.stages, STRIDES, depths)),
        head=Head,
        initialization=INITIALIZATION,
        family="resnet",
    )


resnet_narrow = partial(resnet, block=basic, widths=NARROW)
resnet_rs = partial(resnet, style=D, gate=SE_RS, halving=CONVOLVE)
