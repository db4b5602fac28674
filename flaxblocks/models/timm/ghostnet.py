"""timm's GhostNets of the three versions, and its RepGhostNets."""

from functools import partial
from typing import Any

from flaxblocks.blocks import Head, RepConv, Stem
from flaxblocks.blocks.ghost import AxialGate, GhostModule
from flaxblocks.blocks.ghost_bottleneck import GhostBottleNeck
from flaxblocks.layers import SqueezeExcite
from flaxblocks.layers.initializers import Initialization
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import hard_sigmoid

Blocks = tuple[tuple[int, int, bool], ...]
"""Kernel size, channels of the output, and whether there is a gate, of each block of a stage."""

STAGES: tuple[tuple[int, Blocks], ...] = (
    (1, ((3, 16, False),)),
    (2, ((3, 24, False),)),
    (1, ((3, 24, False),)),
    (2, ((5, 40, True),)),
    (1, ((5, 40, True),)),
    (2, ((3, 80, False),)),
    (1, ((3, 80, False),) * 3 + ((3, 112, True),) * 2),
    (2, ((5, 160, True),)),
    (1, ((5, 160, False), (5, 160, True)) * 2),
)
"""Han et al. 2020, table 1: the stride of each stage and its blocks."""

HIDDEN = (16, 48, 72, 72, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960, 960, 960)
REP_HIDDEN = (8, 24, 36, 36, 60, 120, 100, 120, 120, 240, 336, 336, 480, 480, 480, 480)
"""The wide widths of all blocks, in GhostNet and in RepGhostNet."""

rep = partial(RepConv, branches=3)
primary = partial(rep, skip=None)
ghost_v2 = partial(GhostModule, gate=AxialGate)
ghost_v3 = partial(GhostModule, primary=primary, cheap=rep)
gated_ghost_v3 = partial(ghost_v3, gate=AxialGate)
rep_ghost = partial(GhostModule, keep=False, cheap=partial(RepConv, point=None))


def gate(features: int, **arguments: Any) -> SqueezeExcite:
    """Make a gate a quarter as wide, in multiples of 4."""
    squeezed = make_divisible(features / 4, 4)
    return SqueezeExcite(features, squeeze_features=squeezed, gate=hard_sigmoid, **arguments)


def ghostnet(
    width: float,
    *,
    first: ModuleFactory = GhostModule,
    later: ModuleFactory = GhostModule,
    hidden: tuple[int, ...] = HIDDEN,
    **block: Any,
) -> Architecture:
    """Describe a GhostNet.

    Args:
        width: factor of all channels.
        first: makes the ghost modules that expand in the first two blocks.
        later: makes those of the others.
        hidden: the blocks' wide widths.
        **block: other arguments of `GhostBottleNeck`.
    """

    def scaled(features: int) -> int:
        return make_divisible(features * width, 4)

    wide = iter(enumerate(hidden))
    stages: list[StageRow] = []
    for stride, blocks in STAGES:
        makers: list[ModuleFactory] = []
        for kernel_size, _, gated in blocks:
            number, features = next(wide)
            arguments = {"expand": later if number > 1 else first, "se": gate if gated else None}
            arguments |= {"hidden_features": scaled(features), "kernel_size": kernel_size}
            makers.append(partial(GhostBottleNeck, **arguments, **block))
        widths = tuple(scaled(features) for _, features, _ in blocks)
        stages.append(StageRow(widths[-1], stride, tuple(makers), widths=widths, dilate=refuse))
    return Architecture(
        stem=partial(Stem, features=(scaled(16),)),
        stages=tuple(stages),
        head=partial(Head, conv_features=scaled(960), hidden_features=1280),
        initialization=Initialization(),
        drop_rate=0.2,
        drop_path_ramp=no_branches,
        family="ghostnet",
    )


ghostnet_v2 = partial(ghostnet, later=ghost_v2)
ghostnet_v3 = partial(
    ghostnet, first=ghost_v3, later=gated_ghost_v3, project=ghost_v3, depthwise=primary
)
rep_ghostnet = partial(
    ghostnet, first=rep_ghost, later=rep_ghost, project=rep_ghost, hidden=REP_HIDDEN
)

NETWORKS: Networks = {
    "Han et al. 2020 (GhostNet)": {
        f"ghostnet_{percent:03}": ghostnet(percent / 100) for percent in (50, 100, 130)
    },
    "Tang et al. 2022 (GhostNetV2)": {
        f"ghostnetv2_{percent}": ghostnet_v2(percent / 100) for percent in (100, 130, 160)
    },
    "Liu et al. 2024 (GhostNetV3)": {
        f"ghostnetv3_{percent:03}": ghostnet_v3(percent / 100) for percent in (50, 100, 130, 160)
    },
    "Chen et al. 2022 (RepGhost)": {
        f"repghostnet_{percent:03}": rep_ghostnet(percent / 100)
        for percent in (50, 58, 80, 100, 111, 130, 150, 200)
    },
}
