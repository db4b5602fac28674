"""timm's pre-activation ResNets, BiT's among them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import jax
import numpy as np
from jax import lax

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.preactivation import (
    PreActBasicBlock,
    PreActBottleNeck,
    pre_activated_projection,
)
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import (
    BatchNorm,
    Conv,
    ConvNormAct,
    EvoNorm,
    FilterResponseNorm,
    StandardizedConv,
)
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.layers.norm_act import NormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow, dilate_after_first
from flaxblocks.models.dilation import dilate_all
from flaxblocks.models.resnet import NARROW, STRIDES, WIDE
from flaxblocks.models.timm.resnet import B, D, Style, T
from flaxblocks.models.timm.resnet_table import R18, R34, R50, R101, R152
from flaxblocks.ops import max_pool
from flaxblocks.ops.activations import Activation

INITIALIZATION = Initialization(conv=kaiming_normal, linear=Normal(0.01), linear_bias=zeros)

BIT_CONV = partial(StandardizedConv, epsilon=1e-8)


def zero_padded_max_pool(x: jax.Array) -> jax.Array:
    """Max-pool 3x3 pixels with stride 2; what lies beyond the border counts as zeros."""
    zero = np.zeros((), x.dtype)
    return max_pool(lax.pad(x, zero, ((0, 0, 0), (1, 1, 0), (1, 1, 0), (0, 0, 0))), padding=0)


pooled = partial(PooledProjection, norm=None)


def _dilate(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage, whose shortcut still pools although its stride is 1."""
    is_basic = getattr(row.blocks[0], "func", None) is PreActBasicBlock
    row = (dilate_all if is_basic else dilate_after_first)(row, before, dilation)
    first, *rest = row.blocks
    if is_basic:
        first = partial(first, first_dilation=before)
    if getattr(first, "keywords", {}).get("shortcut") is pooled:
        first = partial(first, shortcut=partial(pooled, dilated=True))
    return replace(row, blocks=(first, *rest))


def resnetv2(
    depths: tuple[int, int, int, int],
    style: Style = B,
    *,
    block: Callable[..., PreActBottleNeck | PreActBasicBlock] = PreActBottleNeck,
    features: tuple[int, int, int, int] = WIDE.stages,
    width: int = 1,
    norm: ModuleFactory = BatchNorm,
    conv: Callable[..., Conv] = Conv,
    pool: Activation = max_pool,
) -> Architecture:
    """Describe a pre-activation ResNet.

    Args:
        depths: blocks of each stage.
        style: the stem's convolutions and the shortcuts.
        block: makes a block.
        features: channels of each stage.
        width: factor of the channels, the stem's included.
        norm: makes each normalization.
        conv: makes each convolution.
        pool: ends the stem.
    """
    make = partial(block, norm=norm, conv=conv)
    shortcut = pooled if style.shortcut is PooledProjection else pre_activated_projection

    def stage(number: int, features: int, stride: int, depth: int) -> StageRow:
        keeps = number == 0 and block is PreActBasicBlock
        first = partial(make, shortcut=None if keeps else shortcut)
        return StageRow(width * features, stride, (first, *(make,) * (depth - 1)), dilate=_dilate)

    return Architecture(
        stem=partial(
            Stem,
            features=tuple(width * each for each in style.stem),
            kernel_size=7 if len(style.stem) == 1 else 3,
            norm=norm,
            conv=partial(ConvNormAct, conv=conv),
            bare=(-1,),
            pool=pool,
        ),
        stages=tuple(map(stage, range(4), features, STRIDES, depths)),
        head=partial(Head, neck=partial(NormAct, norm=norm)),
        initialization=INITIALIZATION,
        family="resnetv2",
    )


bit = partial(resnetv2, norm=GroupNorm, conv=BIT_CONV, pool=zero_padded_max_pool)
narrow = partial(resnetv2, block=PreActBasicBlock, features=NARROW.stages)

NETWORKS: Networks = {
    "He et al. 2016 (Identity Mappings)": {
        "resnetv2_18": narrow(R18),
        "resnetv2_18d": narrow(R18, D),
        "resnetv2_34": narrow(R34),
        "resnetv2_34d": narrow(R34, D),
        "resnetv2_50": resnetv2(R50),
        "resnetv2_50d": resnetv2(R50, D),
        "resnetv2_50d_evos": resnetv2(R50, D, norm=EvoNorm),
        "resnetv2_50d_frn": resnetv2(R50, D, norm=FilterResponseNorm),
        "resnetv2_50d_gn": resnetv2(R50, D, norm=GroupNorm),
        "resnetv2_50t": resnetv2(R50, T),
        "resnetv2_101": resnetv2(R101),
        "resnetv2_101d": resnetv2(R101, D),
        "resnetv2_152": resnetv2(R152),
        "resnetv2_152d": resnetv2(R152, D),
    },
    "Kolesnikov et al. 2020 (BiT)": {
        "resnetv2_50x1_bit": bit(R50),
        "resnetv2_50x3_bit": bit(R50, width=3),
        "resnetv2_101x1_bit": bit(R101),
        "resnetv2_101x3_bit": bit(R101, width=3),
        "resnetv2_152x2_bit": bit(R152, width=2),
        "resnetv2_152x4_bit": bit(R152, width=4),
    },
}
