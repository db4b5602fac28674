"""timm's DLAs, with blocks of ResNet, ResNeXt and Res2Net."""

from functools import partial
from typing import Any

from flaxblocks.blocks import BasicBlock, BottleNeck, Head, Stem
from flaxblocks.blocks.aggregation import AggregationTree, MaxPooledShortcut
from flaxblocks.blocks.multi_scale import MultiScale
from flaxblocks.layers import ConvNormAct
from flaxblocks.layers.initializers import Initialization, kaiming_normal
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse

INITIALIZATION = Initialization(conv=kaiming_normal, linear=kaiming_normal)

basic = partial(BasicBlock, use_bias=False, shortcut=MaxPooledShortcut)


def bottleneck(
    in_features: int,
    out_features: int,
    *,
    stride: int,
    groups: int = 1,
    base_width: int = 64,
    scale: int | None = None,
    **arguments: Any,
) -> BottleNeck:
    """Make a bottleneck.

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        stride: step in pixels.
        groups: groups of each 3x3 convolution.
        base_width: channels of a group where the output has 128 of them.
        scale: parts that a `MultiScale` makes of the channels; None for one 3x3 convolution.
        **arguments: the others of `BottleNeck`.
    """
    width = out_features * base_width // 64 * groups // 2
    if scale is not None:
        width *= scale
        arguments["spatial"] = partial(MultiScale, scale=scale, first=stride > 1)
    return BottleNeck(
        in_features,
        out_features,
        hidden_features=width,
        stride=stride,
        groups=groups,
        use_bias=False,
        shortcut=MaxPooledShortcut,
        **arguments,
    )


grouped = partial(bottleneck, groups=32, base_width=4)

NARROW = (64, 128, 256, 512)
COMPACT = (64, 64, 128, 256)
WIDE = (128, 256, 512, 1024)


def dla(
    levels: tuple[int, int, int, int],
    features: tuple[int, int, int, int] = WIDE,
    block: ModuleFactory = bottleneck,
    *,
    root_residual: bool = False,
) -> Architecture:
    """Describe a DLA.

    Args:
        levels: how deep the tree of each stage but the first two is.
        features: channels of these stages.
        block: makes a block, see `StageRow`.
        root_residual: see `AggregationTree`.
    """
    convolution = partial(ConvNormAct, kernel_size=3, use_bias=False)
    tree = partial(AggregationTree, block=block, root_residual=root_residual)
    trees = tuple(
        StageRow(width, 2, (partial(tree, levels=depth, reads_input=stage > 0),), dilate=refuse)
        for stage, (width, depth) in enumerate(zip(features, levels, strict=True))
    )
    return Architecture(
        stem=partial(Stem, features=(16,), kernel_size=7, stride=1),
        stages=(
            StageRow(16, 1, (convolution,), dilate=refuse),
            StageRow(32, 2, (convolution,), dilate=refuse),
            *trees,
        ),
        head=Head,
        drop_path_ramp=no_branches,
        initialization=INITIALIZATION,
        family="dla",
    )


NETWORKS: Networks = {
    "Yu et al. 2018 (Deep Layer Aggregation)": {  # table 1
        "dla34": dla((1, 2, 2, 1), NARROW, basic),
        "dla46_c": dla((1, 2, 2, 1), COMPACT),
        "dla46x_c": dla((1, 2, 2, 1), COMPACT, grouped),
        "dla60": dla((1, 2, 3, 1)),
        "dla60x": dla((1, 2, 3, 1), block=grouped),
        "dla60x_c": dla((1, 2, 3, 1), COMPACT, grouped),
        "dla102": dla((1, 3, 4, 1), root_residual=True),
        "dla102x": dla((1, 3, 4, 1), block=grouped, root_residual=True),
        "dla102x2": dla((1, 3, 4, 1), block=partial(grouped, groups=64), root_residual=True),
        "dla169": dla((2, 3, 5, 1), root_residual=True),
    },
    "Gao et al. 2019 (Res2Net)": {
        "dla60_res2net": dla((1, 2, 3, 1), block=partial(bottleneck, base_width=28, scale=4)),
        "dla60_res2next": dla((1, 2, 3, 1), block=partial(grouped, groups=8, scale=4)),
    },
}
