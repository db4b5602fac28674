"""timm's MetaFormers: PoolFormer of both versions, ConvFormer and CAFormer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from flaxblocks.blocks import Head, NormConv, Stem
from flaxblocks.blocks.convnext import depthwise_conv, layer_norm
from flaxblocks.blocks.metaformer import NormFirstResidual, Perceptron, SelfAttention
from flaxblocks.blocks.perceptron_head import PerceptronHead
from flaxblocks.layers import Linear
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.star_relu import squared_relu
from flaxblocks.models.architecture import Architecture, Networks, StageRow, ramp_to
from flaxblocks.models.convnext import INITIALIZATION, Size
from flaxblocks.models.dilation import refuse
from flaxblocks.models.timm.convnext import by_conv
from flaxblocks.ops import mean_pool
from flaxblocks.ops.activations import gelu

Widths = tuple[int, int, int, int]

SMALL: Widths = (64, 128, 320, 512)
MEDIUM: Widths = (96, 192, 384, 768)
CONV_MEDIUM: Widths = (96, 192, 384, 576)
CONV_BASE: Widths = (128, 256, 512, 768)

S12 = Size(SMALL, (2, 2, 6, 2))
S24 = Size(SMALL, (4, 4, 12, 4))
S36 = Size(SMALL, (6, 6, 18, 6))
M36 = Size(MEDIUM, (6, 6, 18, 6))
M48 = Size(MEDIUM, (8, 8, 24, 8))
CONV_S18 = Size(SMALL, (3, 3, 9, 3))
CONV_S36 = Size(SMALL, (3, 12, 18, 3))
CONV_M36 = Size(CONV_MEDIUM, (3, 12, 18, 3))
CONV_B36 = Size(CONV_BASE, (3, 12, 18, 3))

unshifted = partial(layer_norm, use_bias=False)
of_image = partial(GroupNorm, num_groups=1)
of_image_unshifted = partial(of_image, use_bias=False, epsilon=1e-6)


def in_pairs(rate: float, branches: int) -> Sequence[float]:
    """Return the rates of `ramp_to`, each for both branches of a block."""
    return [each for each in ramp_to(rate, branches // 2) for _ in range(2)]


def around_less_itself(x: jax.Array) -> jax.Array:
    """Return how much more the mean of the 3x3 pixels around each is than the pixel itself."""
    return mean_pool(x, kernel_size=3, stride=1, padding=1, beyond=False) - x


def pooling(in_features: int, out_features: int, **_: Any) -> Callable[[jax.Array], jax.Array]:
    """Make PoolFormer's mixer, which has no parameters."""
    return around_less_itself


def plain_gelu(**_: Any) -> Callable[[jax.Array], jax.Array]:
    """Make an activation without parameters."""
    return gelu


separable = partial(
    Perceptron,
    expansion=2,
    pointwise=by_conv,
    depthwise=partial(depthwise_conv, kernel_size=7, use_bias=False),
)
perceptron = partial(Perceptron, pointwise=by_conv)


@dataclass(frozen=True)
class Kind:
    """What a stage's blocks are made of.

    Args:
        mixer: makes what mixes the pixels.
        norm: makes the normalization of each branch.
        perceptron: makes what mixes the channels.
    """

    mixer: ModuleFactory
    norm: ModuleFactory
    perceptron: ModuleFactory = perceptron


POOL_V1 = Kind(pooling, of_image, partial(perceptron, use_bias=True, act=plain_gelu))
POOL_V2 = Kind(pooling, of_image_unshifted)
CONV = Kind(separable, unshifted)
ATTENTION = Kind(SelfAttention, unshifted, partial(Perceptron, pointwise=Linear))

perceptron_head = partial(PerceptronHead, norm=layer_norm, act=squared_relu)
plain_head = partial(Head, norm=layer_norm)


def metaformer(
    size: Size,
    kinds: tuple[Kind, ...],
    *,
    norm: ModuleFactory | None = unshifted,
    layer_scale: float | None = None,
    skip_scales: tuple[float | None, ...] = (None, None, 1.0, 1.0),
    head: Callable[..., Head] = perceptron_head,
) -> Architecture:
    """Describe a MetaFormer.

    Args:
        size: its widths and depths.
        kinds: what the blocks of each stage are made of.
        norm: makes the normalization after the stem and before each downsampling; None for none.
        layer_scale: first value of the branches' scales; None for none.
        skip_scales: of each stage, first value of the scales of what goes past the branches.
        head: makes the last layers, see `Architecture`.

    Source: Yu et al. 2022, table 1; Yu et al. 2024, table 1.
    """
    downsample = partial(NormConv, kernel_size=3, padding=1, norm=norm)
    rows = zip(size.features, size.depths, kinds, skip_scales, strict=True)
    stages: list[StageRow] = []
    for features, depth, kind, skip_scale in rows:
        scales = {"layer_scale": layer_scale, "skip_scale": skip_scale}
        branch = partial(NormFirstResidual, norm=kind.norm, **scales)
        pair = partial(branch, layer=kind.mixer), partial(branch, layer=kind.perceptron)
        stride, before = (2, downsample) if stages else (1, None)
        stages.append(StageRow(features, stride, pair * depth, downsample=before, dilate=refuse))
    patches = {"kernel_size": 7, "stride": 4, "padding": 2, "use_bias": True}
    return Architecture(
        stem=partial(Stem, features=size.features[:1], norm=norm, act=None, **patches),
        stages=tuple(stages),
        head=head,
        initialization=INITIALIZATION,
        drop_path_ramp=in_pairs,
        family="metaformer",
    )


def poolformer(size: Size, layer_scale: float) -> Architecture:
    """Describe a PoolFormer of the first version."""
    return metaformer(
        size,
        (POOL_V1,) * 4,
        norm=None,
        layer_scale=layer_scale,
        skip_scales=(None,) * 4,
        head=plain_head,
    )


poolformer_v2 = partial(metaformer, kinds=(POOL_V2,) * 4, head=plain_head)
convformer = partial(metaformer, kinds=(CONV,) * 4)
caformer = partial(metaformer, kinds=(CONV, CONV, ATTENTION, ATTENTION))

NETWORKS: Networks = {
    "Yu et al. 2022 (PoolFormer)": {
        "poolformer_s12": poolformer(S12, 1e-5),
        "poolformer_s24": poolformer(S24, 1e-5),
        "poolformer_s36": poolformer(S36, 1e-6),
        "poolformer_m36": poolformer(M36, 1e-6),
        "poolformer_m48": poolformer(M48, 1e-6),
    },
    "Yu et al. 2024 (MetaFormer baselines)": {
        "poolformerv2_s12": poolformer_v2(S12),
        "poolformerv2_s24": poolformer_v2(S24),
        "poolformerv2_s36": poolformer_v2(S36),
        "poolformerv2_m36": poolformer_v2(M36),
        "poolformerv2_m48": poolformer_v2(M48),
        "convformer_s18": convformer(CONV_S18),
        "convformer_s36": convformer(CONV_S36),
        "convformer_m36": convformer(CONV_M36),
        "convformer_b36": convformer(CONV_B36),
        "caformer_s18": caformer(CONV_S18),
        "caformer_s36": caformer(CONV_S36),
        "caformer_m36": caformer(CONV_M36),
        "caformer_b36": caformer(CONV_B36),
    },
}
