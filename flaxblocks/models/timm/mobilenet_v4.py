"""timm's convolutional MobileNetV4s."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flaxblocks.blocks import FusedMBConv
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.layers import ConvNormAct
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import InvertedRow, Stages, scaled
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import blur_pool_in_zeros, inverted_network
from flaxblocks.models.timm.mobilenet_v3 import conv_row
from flaxblocks.ops import average_pool
from flaxblocks.ops.activations import Activation, relu


@dataclass(frozen=True)
class UniversalRow(InvertedRow):
    """Equal universal inverted bottlenecks, with the sizes and the activation of `InvertedRow`.

    Args:
        start: height and width of the kernel before the expansion in pixels; None for none.
        middle: the same of the kernel after it.
        layer_scale: see `UniversalInvertedBottleneck`.
    """

    start: int | None = None
    middle: int | None = None
    layer_scale: float | None = None

    def make_block(
        self,
        in_features: int,
        out_features: int,
        **arguments: Any,
    ) -> UniversalInvertedBottleneck:
        """Return one of the blocks, with its wide width rounded to a multiple of 8."""
        return UniversalInvertedBottleneck(
            in_features,
            out_features,
            hidden_features=make_divisible(in_features * self.expansion),
            start_kernel_size=self.start,
            kernel_size=self.middle,
            act=self.act,
            layer_scale=self.layer_scale,
            pool=self.pool_at(arguments["stride"]),
            **arguments,
        )


_fused = partial(InvertedRow, block=FusedMBConv)


def _row(
    start: int | None,
    middle: int | None,
    expansion: float,
    features: int,
    stride: int = 1,
    depth: int = 1,
) -> UniversalRow:
    """Return a row of the paper's tables, columns in their order."""
    return UniversalRow(features, depth, stride, expansion, start=start, middle=middle)


SMALL: Stages = (
    (_fused(32, 1, 2, residual=False), conv_row(32)),
    (_fused(96, 1, 2, residual=False), conv_row(64)),
    (  # kernels before and after the expansion, expansion, channels, stride, layers
        _row(5, 5, 3, 96, 2),
        _row(None, 3, 2, 96, 1, 4),
        _row(3, None, 4, 96),
    ),
    (
        _row(3, 3, 6, 128, 2),
        _row(5, 5, 4, 128),
        _row(None, 5, 4, 128),
        _row(None, 5, 3, 128),
        _row(None, 3, 4, 128, 1, 2),
    ),
    (conv_row(960),),
)
MEDIUM: Stages = (
    (_fused(48, 1, 2, 4),),
    (_row(3, 5, 4, 80, 2), _row(3, 3, 2, 80)),
    (
        _row(3, 5, 6, 160, 2),
        _row(3, 3, 4, 160, 1, 2),
        _row(3, 5, 4, 160),
        _row(3, 3, 4, 160),
        _row(3, None, 4, 160),
        _row(None, None, 2, 160),
        _row(3, None, 4, 160),
    ),
    (
        _row(5, 5, 6, 256, 2),
        _row(5, 5, 4, 256),
        _row(3, 5, 4, 256, 1, 2),
        _row(None, None, 4, 256),
        _row(3, None, 4, 256),
        _row(3, 5, 2, 256),
        _row(5, 5, 4, 256),
        _row(None, None, 4, 256, 1, 2),
        _row(5, None, 2, 256),
    ),
    (conv_row(960),),
)
LARGE: Stages = (
    (_fused(48, 1, 2, 4),),
    (_row(3, 5, 4, 96, 2), _row(3, 3, 4, 96)),
    (
        _row(3, 5, 4, 192, 2),
        _row(3, 3, 4, 192, 1, 3),
        _row(3, 5, 4, 192),
        _row(5, 3, 4, 192, 1, 5),
        _row(3, None, 4, 192),
    ),
    (
        _row(5, 5, 4, 512, 2, 4),
        _row(5, None, 4, 512),
        _row(5, 3, 4, 512),
        _row(5, None, 4, 512, 1, 2),
        _row(5, 3, 4, 512),
        _row(5, 5, 4, 512),
        _row(5, None, 4, 512, 1, 3),
    ),
    (conv_row(960),),
)
"""Qin et al. 2024, the tables of MNv4-Conv-S, M and L."""


def mobilenet_v4(
    stages: Stages,
    stem_features: int = 32,
    width: float = 1.0,
    *,
    act: Activation = relu,
    pool: Activation | None = None,
) -> Architecture:
    """Describe a MobileNetV4.

    Args:
        stages: the rows of each stage.
        stem_features: channels after the stem, whatever the width.
        width: factor of the channels.
        act: activation of all layers.
        pool: takes the place of the blocks' strides; None for none.
    """
    stages = tuple(tuple(replace(row, act=act, pool=pool) for row in rows) for rows in stages)
    return inverted_network(
        scaled(stages, width=width),
        stem_features=stem_features,
        hidden_features=1280,
        hidden=partial(ConvNormAct, kernel_size=1, use_bias=False, act=None),
        act=act,
    )


NETWORKS: Networks = {
    "Qin et al. 2024 (MobileNetV4)": {
        "mobilenetv4_conv_small_035": mobilenet_v4(SMALL, width=0.35),
        "mobilenetv4_conv_small_050": mobilenet_v4(SMALL, width=0.5),
        "mobilenetv4_conv_small": mobilenet_v4(SMALL),
        "mobilenetv4_conv_medium": mobilenet_v4(MEDIUM),
        "mobilenetv4_conv_large": mobilenet_v4(LARGE, 24),
        "mobilenetv4_conv_aa_medium": mobilenet_v4(MEDIUM, pool=average_pool),
        "mobilenetv4_conv_aa_large": mobilenet_v4(LARGE, 24, pool=average_pool),
        "mobilenetv4_conv_blur_medium": mobilenet_v4(MEDIUM, pool=blur_pool_in_zeros),
    }
}
