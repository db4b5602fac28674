"""ResNet, ResNeXt and Wide-ResNet.

The stride of a bottleneck is its 3x3 convolution's ("v1.5"), as in torchvision.
"""

from dataclasses import dataclass, replace
from functools import partial

from flaxblocks.blocks import BasicBlock, BottleNeck, Head, Stem, projection
from flaxblocks.layers.initializers import Initialization, kaiming_normal
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow, dilate_after_first
from flaxblocks.models.dilation import dilate_all
from flaxblocks.ops import max_pool


@dataclass(frozen=True)
class Widths:
    """How wide the four stages and their blocks are.

    Args:
        stem: channels after the stem.
        stages: channels of each stage's output.
    """

    stem: int
    stages: tuple[int, int, int, int]


NARROW = Widths(64, (64, 128, 256, 512))
WIDE = Widths(64, (256, 512, 1024, 2048))
"""He et al. 2016, table 1: the outputs of the basic and of the bottleneck stages."""

STRIDES = (1, 2, 2, 2)

basic = partial(BasicBlock, use_bias=False)


def bottleneck(base_width: int = 64, groups: int = 1) -> ModuleFactory:
    """Return the maker of a bottleneck block.

    Args:
        base_width: channels per group of the 3x3 convolution in the first stage.
        groups: groups of the 3x3 convolution.

    Source: Xie et al. 2017, table 1.
    """
    reduction = WIDE.stages[0] / (base_width * groups)
    arguments = {"reduction": reduction, "groups": groups, "use_bias": False}
    return partial(BottleNeck, shortcut=projection, **arguments)


def dilate(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage, in which both kernels of a basic block are dilated."""
    if getattr(row.blocks[0], "func", None) is not BasicBlock:
        return dilate_after_first(row, before, dilation)
    first, *rest = dilate_all(row, before, dilation).blocks
    return replace(row, blocks=(partial(first, first_dilation=before), *rest))


def resnet(
    depths: tuple[int, int, int, int], block: ModuleFactory, widths: Widths = WIDE
) -> Architecture:
    """Describe a residual network.

    Args:
        depths: blocks of each stage.
        block: makes a block, see `StageRow`.
        widths: channels of the stem and the stages.
    """
    return Architecture(
        stem=partial(Stem, features=(widths.stem,), kernel_size=7, pool=max_pool),
        stages=tuple(
            StageRow(features, stride, (block,) * depth, dilate=dilate)
            for features, stride, depth in zip(widths.stages, STRIDES, depths, strict=True)
        ),
        head=Head,
        initialization=Initialization(conv=kaiming_normal),
        family="resnet",
    )


NETWORKS: Networks = {
    "He et al. 2016": {  # table 1
        "resnet18": resnet((2, 2, 2, 2), basic, NARROW),
        "resnet34": resnet((3, 4, 6, 3), basic, NARROW),
        "resnet50": resnet((3, 4, 6, 3), bottleneck()),
        "resnet101": resnet((3, 4, 23, 3), bottleneck()),
        "resnet152": resnet((3, 8, 36, 3), bottleneck()),
    },
    "Xie et al. 2017 (ResNeXt)": {  # table 2: "cardinality x bottleneck width"
        "resnext50_32x4d": resnet((3, 4, 6, 3), bottleneck(4, groups=32)),
        "resnext101_32x8d": resnet((3, 4, 23, 3), bottleneck(8, groups=32)),
        "resnext101_64x4d": resnet((3, 4, 23, 3), bottleneck(4, groups=64)),
    },
    "Zagoruyko and Komodakis 2016 (Wide-ResNet)": {  # table 8: the 3x3 convolutions twice as wide
        "wide_resnet50_2": resnet((3, 4, 6, 3), bottleneck(128)),
        "wide_resnet101_2": resnet((3, 4, 23, 3), bottleneck(128)),
    },
}
