"""timm's ConvNeXts, of both versions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from flaxblocks.blocks import ConvNeXtBlock, Head, NormConv, Stem
from flaxblocks.blocks.convnext import layer_norm
from flaxblocks.layers import Conv, ConvNormAct, LayerNorm
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.response_norm import GlobalResponseNorm
from flaxblocks.layers.scale_norm import rms_norm, simple_norm
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.convnext import BASE, INITIALIZATION, LARGE, SMALL, TINY, Size, dilate
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, gelu, gelu_tanh, silu

ZEPTO = Size((32, 64, 128, 256), (2, 2, 4, 2))
ATTO = Size((40, 80, 160, 320), (2, 2, 6, 2))
FEMTO = Size((48, 96, 192, 384), (2, 2, 6, 2))
PICO = Size((64, 128, 256, 512), (2, 2, 6, 2))
NANO = Size((80, 160, 320, 640), (2, 2, 8, 2))
XLARGE = Size((256, 512, 1024, 2048), (3, 3, 27, 3))
XXLARGE = Size((384, 768, 1536, 3072), (3, 4, 30, 3))
HUGE = Size((352, 704, 1408, 2816), (3, 3, 27, 3))
TEST = Size((24, 32, 48, 64), (1, 2, 4, 2))
TEST_SHALLOW = Size((32, 64, 96, 128), (1, 1, 1, 1))

by_conv = partial(Conv, kernel_size=1)
"""Makes the perceptron's layers as `Conv2d`s: the same function as `Linear`."""

block_v1 = ConvNeXtBlock
block_v2 = partial(ConvNeXtBlock, layer_scale=None, response_norm=GlobalResponseNorm)


@dataclass(frozen=True)
class Overlap:
    """A stem of two 3x3 convolutions of stride 2, in place of one of non-overlapping patches.

    Args:
        features: channels after the first convolution.
        act: activation after it; None for none.
    """

    features: int
    act: Activation | None = None


def tiered(size: Size) -> Overlap:
    """Return a stem whose first convolution is about half as wide as its second."""
    return Overlap(make_divisible(size.features[0] // 2))


def _stem(overlap: Overlap | None, features: int, norm: ModuleFactory) -> partial[Stem]:
    """Return the maker of the stem's first convolution, with the norm where it is the only one."""
    stem = partial(Stem, use_bias=True)
    if overlap is None:
        patches = {"kernel_size": 4, "stride": 4, "padding": 0}
        return partial(stem, features=(features,), norm=norm, act=None, **patches)
    return partial(stem, features=(overlap.features,), norm=None, act=overlap.act)


def convnext(
    size: Size,
    block: ModuleFactory = block_v1,
    *,
    overlap: Overlap | None = None,
    kernel_sizes: tuple[int, int, int, int] = (7, 7, 7, 7),
    norm: ModuleFactory = layer_norm,
    act: Activation = gelu,
    head: Callable[..., Head] | None = None,
) -> Architecture:
    """Describe a ConvNeXt as timm has it.

    Args:
        size: its widths and depths.
        block: makes a block, see `StageRow`.
        overlap: the stem; None for patches of 4x4 pixels.
        kernel_sizes: height and width of each stage's depthwise kernels in pixels.
        norm: makes each normalization.
        act: activation within the blocks.
        head: makes the last layers, see `Architecture`; `Head` with a norm of the mean if None.
    """
    second = None if overlap is None else partial(ConvNormAct, kernel_size=3, norm=norm, act=None)
    downsample = partial(NormConv, norm=norm)
    rows = enumerate(zip(size.features, size.depths, kernel_sizes, strict=True))
    return Architecture(
        stem=_stem(overlap, size.features[0], norm),
        stages=tuple(
            StageRow(
                features,
                stride=2 if stage or second else 1,
                blocks=(partial(block, kernel_size=kernel_size, norm=norm, act=act),) * depth,
                downsample=downsample if stage else second,
                dilate=dilate,
            )
            for stage, (features, depth, kernel_size) in rows
        ),
        head=head or partial(Head, norm=norm),
        initialization=INITIALIZATION,
        family="convnext",
    )


conv_v1 = partial(block_v1, pointwise=by_conv)
conv_v2 = partial(block_v2, pointwise=by_conv)

NETWORKS: Networks = {
    "Liu et al. 2022": {
        "convnext_zepto_rms": convnext(ZEPTO, conv_v1, norm=simple_norm),
        "convnext_zepto_rms_ols": convnext(
            ZEPTO, conv_v1, norm=simple_norm, overlap=Overlap(32, gelu)
        ),
        "convnext_atto": convnext(ATTO, conv_v1),
        "convnext_atto_ols": convnext(ATTO, conv_v1, overlap=tiered(ATTO)),
        "convnext_atto_rms": convnext(ATTO, conv_v1, norm=rms_norm),
        "convnext_femto": convnext(FEMTO, conv_v1),
        "convnext_femto_ols": convnext(FEMTO, conv_v1, overlap=tiered(FEMTO)),
        "convnext_pico": convnext(PICO, conv_v1),
        "convnext_pico_ols": convnext(PICO, conv_v1, overlap=tiered(PICO)),
        "convnext_nano": convnext(NANO, conv_v1),
        "convnext_nano_ols": convnext(NANO, conv_v1, overlap=Overlap(80)),
        "convnext_tiny": convnext(TINY),
        "convnext_tiny_hnf": convnext(TINY, conv_v1, head=partial(Head, neck=layer_norm)),
        "convnext_small": convnext(SMALL),
        "convnext_base": convnext(BASE),
        "convnext_large": convnext(LARGE),
        "convnext_large_mlp": convnext(
            LARGE, head=partial(Head, norm=layer_norm, hidden_features=1536, act=gelu)
        ),
        "convnext_xlarge": convnext(XLARGE),
        "convnext_xxlarge": convnext(XXLARGE, norm=LayerNorm),
        "test_convnext": convnext(TEST, norm=LayerNorm, act=gelu_tanh),
        "test_convnext2": convnext(TEST_SHALLOW, norm=LayerNorm, act=gelu_tanh),
        "test_convnext3": convnext(
            TEST_SHALLOW, norm=LayerNorm, act=silu, kernel_sizes=(7, 5, 5, 3)
        ),
    },
    "Woo et al. 2023 (ConvNeXt V2)": {  # appendix A.1
        "convnextv2_atto": convnext(ATTO, conv_v2),
        "convnextv2_femto": convnext(FEMTO, conv_v2),
        "convnextv2_pico": convnext(PICO, conv_v2),
        "convnextv2_nano": convnext(NANO, conv_v2),
        "convnextv2_tiny": convnext(TINY, block_v2),
        "convnextv2_small": convnext(SMALL, block_v2),
        "convnextv2_base": convnext(BASE, block_v2),
        "convnextv2_large": convnext(LARGE, block_v2),
        "convnextv2_huge": convnext(HUGE, block_v2),
    },
}
