"""ConvNeXt."""

from dataclasses import dataclass, replace
from functools import partial

from flaxblocks.blocks import ConvNeXtBlock, Head, NormConv, Stem
from flaxblocks.blocks.convnext import layer_norm
from flaxblocks.layers.initializers import Initialization, Normal, zeros
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.dilation import dilate_all


@dataclass(frozen=True)
class Size:
    """A ConvNeXt's size.

    Args:
        features: channels of each stage, C.
        depths: blocks of each stage, B.

    Source: Liu et al. 2022, section 3.
    """

    features: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


TINY = Size((96, 192, 384, 768), (3, 3, 9, 3))
SMALL = Size((96, 192, 384, 768), (3, 3, 27, 3))
BASE = Size((128, 256, 512, 1024), (3, 3, 27, 3))
LARGE = Size((192, 384, 768, 1536), (3, 3, 27, 3))

# The source truncates its normal distribution at a hundred standard deviations.
INITIALIZATION = Initialization(
    conv=Normal(0.02), conv_bias=zeros, linear=Normal(0.02), linear_bias=zeros
)


def dilate(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the stage with dilated blocks, and a 2x2 convolution of stride 1 before them."""
    downsample = partial(row.downsample or NormConv, kernel_size=2, dilation=before, padding="SAME")
    return replace(dilate_all(row, before, dilation), downsample=downsample)


def convnext(size: Size, drop_path_rate: float) -> Architecture:
    """Describe a ConvNeXt.

    Args:
        size: its widths and depths.
        drop_path_rate: stochastic depth of the last block.
    """
    return Architecture(
        stem=partial(
            Stem,
            features=size.features[:1],
            kernel_size=4,
            stride=4,
            padding=0,
            use_bias=True,
            norm=layer_norm,
            act=None,
        ),
        stages=tuple(
            StageRow(
                features,
                stride=2 if stage else 1,
                blocks=(ConvNeXtBlock,) * depth,
                downsample=NormConv if stage else None,
                dilate=dilate,
            )
            for stage, (features, depth) in enumerate(zip(size.features, size.depths, strict=True))
        ),
        head=partial(Head, norm=layer_norm),
        initialization=INITIALIZATION,
        drop_path_rate=drop_path_rate,
        family="convnext",
    )


NETWORKS: Networks = {
    "Liu et al. 2022": {
        "convnext_tiny": convnext(TINY, 0.1),
        "convnext_small": convnext(SMALL, 0.4),
        "convnext_base": convnext(BASE, 0.5),
        "convnext_large": convnext(LARGE, 0.5),
    }
}
