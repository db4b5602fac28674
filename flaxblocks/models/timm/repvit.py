"""timm's RepViTs: depthwise parallel convolutions, and pointwise layers that mix channels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from flaxblocks.blocks import FusedMBConv, RepConv, Stem, projection
from flaxblocks.blocks.distilled_head import DistilledHead
from flaxblocks.blocks.rep_conv import plain_skip
from flaxblocks.blocks.repvit_downsample import RepViTDownsample
from flaxblocks.layers import BatchNorm, ConvNormAct
from flaxblocks.layers.initializers import Initialization, Normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse
from flaxblocks.models.timm.rep import squeeze_excite
from flaxblocks.ops.activations import gelu

gate = partial(squeeze_excite, ratio=0.25)
mix = partial(FusedMBConv, expansion=2, kernel_size=1, use_bias=False, act=gelu, final_act=None)


def biased_point(
    in_features: int, out_features: int, *, norm: object, use_bias: bool, **arguments: Any
) -> ConvNormAct:
    """Make a 1x1 convolution with a bias and without a normalization."""
    return projection(in_features, out_features, norm=None, use_bias=True, **arguments)


def spatial(in_features: int, out_features: int, *, legacy: bool, **arguments: Any) -> RepConv:
    """Make the depthwise convolutions of a block, one 3x3 and one 1x1, the input added."""
    style = {} if legacy else {"point": biased_point, "final_norm": BatchNorm}
    return RepConv(
        in_features,
        out_features,
        groups=in_features,
        skip=plain_skip,
        act=None,
        **style,
        **arguments,
    )


def repvit(
    widths: tuple[int, ...], depths: tuple[int, ...], *, legacy: bool = False
) -> Architecture:
    """Describe a RepViT.

    Args:
        widths: channels of each stage.
        depths: blocks of each stage, every second one with a gate.
        legacy: whether the 1x1 convolution of each block has a normalization, and their sum none.

    Source: Wang et al. 2023, table 6 and figure 5.
    """
    filters = partial(spatial, legacy=legacy)
    first = partial(ConvNormAct, kernel_size=3, use_bias=False, act=None)
    between = partial(RepViTDownsample, spatial=filters, mix=mix)
    downsamples = (first, *(between,) * (len(widths) - 1))
    return Architecture(
        stem=partial(Stem, features=(widths[0] // 2,), act=gelu),
        stages=tuple(map(partial(_stage, filters), widths, depths, downsamples)),
        head=DistilledHead,
        initialization=Initialization(linear=Normal(0.02), linear_bias=zeros, residual_scale=zeros),
        drop_path_ramp=no_branches,
        family="repvit",
    )


def _stage(filters: ModuleFactory, width: int, depth: int, downsample: ModuleFactory) -> StageRow:
    pairs: Sequence[tuple[ModuleFactory, ModuleFactory]] = [
        (partial(filters, se=None if place % 2 else gate), mix) for place in range(depth)
    ]
    blocks = tuple(block for pair in pairs for block in pair)
    return StageRow(width, 2, blocks, downsample=downsample, dilate=refuse)


M1 = (48, 96, 192, 384)
M1_0 = (56, 112, 224, 448)
M2 = (64, 128, 256, 512)

NETWORKS: Networks = {
    "Wang et al. 2023 (RepViT)": {
        "repvit_m1": repvit(M1, (2, 2, 14, 2), legacy=True),
        "repvit_m2": repvit(M2, (2, 2, 12, 2), legacy=True),
        "repvit_m3": repvit(M2, (4, 4, 18, 2), legacy=True),
        "repvit_m0_9": repvit(M1, (2, 2, 14, 2)),
        "repvit_m1_0": repvit(M1_0, (2, 2, 14, 2)),
        "repvit_m1_1": repvit(M2, (2, 2, 12, 2)),
        "repvit_m1_5": repvit(M2, (4, 4, 24, 4)),
        "repvit_m2_3": repvit((80, 160, 320, 640), (6, 6, 34, 2)),
    },
}
