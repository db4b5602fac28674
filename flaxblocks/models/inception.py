"""GoogLeNet and InceptionV3, with their auxiliary classifiers."""

from functools import partial

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.auxiliary_head import GoogLeNetAuxiliary, InceptionAuxiliary
from flaxblocks.blocks.inception import Branch, Branches, Unit
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.initializers import Initialization, Normal
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse
from flaxblocks.ops import max_pool, mean_pool

BATCH_NORM = partial(BatchNorm, epsilon=1e-3)

shrink = partial(max_pool, padding=0)
shrink_ceil = partial(max_pool, padding=0, ceil_mode=True)
shrink_2_ceil = partial(max_pool, kernel_size=2, padding=0, ceil_mode=True)
keep_max = partial(max_pool, stride=1)
keep_mean = partial(mean_pool, kernel_size=3, stride=1, padding=1)


def _stage(stride: int, *blocks: tuple[int, tuple[Branch, ...]]) -> StageRow:
    """Return the stage of these blocks, each given by its width and branches."""
    widths, branches = zip(*blocks, strict=True)
    made = tuple(partial(Branches, branches=each) for each in branches)
    return StageRow(widths[-1], stride, made, widths=widths, dilate=refuse)


def _inception(
    ones: int, narrow_3: int, wide_3: int, narrow_5: int, wide_5: int, pooled: int
) -> tuple[int, tuple[Branch, ...]]:
    """Return GoogLeNet's block from a row of its table; the second pair is 3x3, too."""
    return ones + wide_3 + wide_5 + pooled, (
        (Unit("branch1", ones),),
        (Unit("branch2_0", narrow_3), Unit("branch2_1", wide_3, 3)),
        (Unit("branch3_0", narrow_5), Unit("branch3_1", wide_5, 3)),
        (keep_max, Unit("branch4_1", pooled)),
    )


GOOGLENET = Architecture(
    stem=partial(Stem, features=(64,), kernel_size=7, norm=BATCH_NORM, pool=shrink_ceil),
    stages=(
        _stage(
            2,
            (192, ((Unit("conv2", 64), Unit("conv3", 192, 3), shrink_ceil),)),
            _inception(64, 96, 128, 16, 32, 32),
            _inception(128, 128, 192, 32, 96, 64),
        ),
        _stage(2, (480, ((shrink_ceil,),)), _inception(192, 96, 208, 16, 48, 64)),
        _stage(
            1,
            _inception(160, 112, 224, 24, 64, 64),
            _inception(128, 128, 256, 24, 64, 64),
            _inception(112, 144, 288, 32, 64, 64),
        ),
        _stage(1, _inception(256, 160, 320, 32, 128, 128)),
        _stage(
            2,
            (832, ((shrink_2_ceil,),)),
            _inception(256, 160, 320, 32, 128, 128),
            _inception(384, 192, 384, 48, 128, 128),
        ),
    ),
    head=Head,
    auxiliary=((1, GoogLeNetAuxiliary), (2, GoogLeNetAuxiliary)),
    drop_path_ramp=no_branches,
    initialization=Initialization(conv=Normal(0.01), linear=Normal(0.01)),
    drop_rate=0.2,
    family="googlenet",
)
"""Szegedy et al. 2015, table 1."""


def _double(name: str, narrow: int, wide: int) -> Branch:
    units = (Unit(f"{name}_2", wide, 3), Unit(f"{name}_3", wide, 3))
    return (Unit(f"{name}_1", narrow), *units)


def _a(pooled: int) -> tuple[int, tuple[Branch, ...]]:
    return 224 + pooled, (
        (Unit("branch1x1", 64),),
        (Unit("branch5x5_1", 48), Unit("branch5x5_2", 64, 5)),
        _double("branch3x3dbl", 64, 96),
        (keep_mean, Unit("branch_pool", pooled)),
    )


B = (
    768,
    (
        (Unit("branch3x3", 384, 3, 2, 0),),
        (
            Unit("branch3x3dbl_1", 64),
            Unit("branch3x3dbl_2", 96, 3),
            Unit("branch3x3dbl_3", 96, 3, 2, 0),
        ),
        (shrink,),
    ),
)


def _c(narrow: int) -> tuple[int, tuple[Branch, ...]]:
    row, column = (1, 7), (7, 1)
    return 768, (
        (Unit("branch1x1", 192),),
        (
            Unit("branch7x7_1", narrow),
            Unit("branch7x7_2", narrow, row),
            Unit("branch7x7_3", 192, column),
        ),
        (
            Unit("branch7x7dbl_1", narrow),
            Unit("branch7x7dbl_2", narrow, column),
            Unit("branch7x7dbl_3", narrow, row),
            Unit("branch7x7dbl_4", narrow, column),
            Unit("branch7x7dbl_5", 192, row),
        ),
        (keep_mean, Unit("branch_pool", 192)),
    )


D = (
    1280,
    (
        (Unit("branch3x3_1", 192), Unit("branch3x3_2", 320, 3, 2, 0)),
        (
            Unit("branch7x7x3_1", 192),
            Unit("branch7x7x3_2", 192, (1, 7)),
            Unit("branch7x7x3_3", 192, (7, 1)),
            Unit("branch7x7x3_4", 192, 3, 2, 0),
        ),
        (shrink,),
    ),
)


def _both(name: str) -> tuple[Unit, Unit]:
    return Unit(f"{name}a", 384, (1, 3)), Unit(f"{name}b", 384, (3, 1))


E = (
    2048,
    (
        (Unit("branch1x1", 320),),
        (Unit("branch3x3_1", 384), _both("branch3x3_2")),
        (
            Unit("branch3x3dbl_1", 448),
            Unit("branch3x3dbl_2", 384, 3),
            _both("branch3x3dbl_3"),
        ),
        (keep_mean, Unit("branch_pool", 192)),
    ),
)

FIRST = (
    Unit("Conv2d_2b_3x3", 64, 3),
    shrink,
    Unit("Conv2d_3b_1x1", 80),
    Unit("Conv2d_4a_3x3", 192, 3, 1, 0),
    shrink,
)
INCEPTION_V3 = Architecture(
    stem=partial(Stem, features=(32, 32), padding=0, norm=BATCH_NORM),
    stages=(
        _stage(4, (192, (FIRST,)), _a(32), _a(64), _a(64)),
        _stage(2, B, _c(128), _c(160), _c(160), _c(192)),
        _stage(2, D, E, E),
    ),
    head=Head,
    auxiliary=((1, InceptionAuxiliary),),
    drop_path_ramp=no_branches,
    initialization=Initialization(conv=Normal(0.1), linear=Normal(0.1)),
    drop_rate=0.5,
    family="inception_v3",
)
"""Szegedy et al. 2016, table 1, with the published network's blocks."""

NETWORKS: Networks = {
    "Szegedy et al. 2015 (GoogLeNet)": {"googlenet": GOOGLENET},
    "Szegedy et al. 2016 (InceptionV3)": {"inception_v3": INCEPTION_V3},
}
