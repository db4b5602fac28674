"""timm's ReXNets, whose channels grow by the same number in every block."""

from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.growing import GrowingBottleneck
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.squeeze_excite import SqueezeNormExcite
from flaxblocks.models.architecture import Architecture, Networks, StageRow, dilate_after_first
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import INITIALIZATION
from flaxblocks.ops.activations import silu

DEPTHS, STRIDES = (1, 2, 2, 6, 5), (1, 2, 2, 2, 2)
"""Han et al. 2021, table 2: blocks of each stage; the fourth has two rows."""

UNGATED = 3  # blocks without a gate, in the first two stages


def _dilate(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage, whose first block adds nothing, as where it had its stride."""
    first, *rest = dilate_after_first(row, before, dilation).blocks
    return replace(row, blocks=(partial(first, residual=False), *rest))


def _widths(width: float, divisor: int) -> tuple[int, ...]:
    """Return the channels after each block: from 16 on, in steps that make 180 of them all."""
    blocks = sum(DEPTHS)
    exact = (16 + 180 / blocks * block for block in range(blocks))
    return tuple(make_divisible(round(each * width), divisor) for each in exact)


def rexnet(width: float, divisor: int = 1) -> Architecture:
    """Describe a ReXNet.

    Args:
        width: factor of the channels.
        divisor: what they are multiples of.
    """
    stem = make_divisible(round(32 * width), divisor)
    widths = _widths(width, divisor)
    blocks: list[ModuleFactory] = []
    for number, (before, _) in enumerate(pairwise((stem, *widths))):
        wide = make_divisible(round(6 * before), divisor) if number else before
        squeezed = make_divisible(int(wide / 12), divisor)
        gate = None if number < UNGATED else partial(SqueezeNormExcite, squeeze_features=squeezed)
        blocks.append(partial(GrowingBottleneck, hidden_features=wide, se=gate))
    ends = tuple(accumulate(DEPTHS))
    stages = tuple(
        StageRow(
            widths[end - 1],
            stride,
            tuple(blocks[end - depth : end]),
            widths=widths[end - depth : end],
            dilate=_dilate,
        )
        for end, depth, stride in zip(ends, DEPTHS, STRIDES, strict=True)
    )
    return Architecture(
        stem=partial(Stem, features=(stem,), act=silu),
        stages=stages,
        head=partial(Head, conv_features=make_divisible(1280 * width, divisor), act=silu),
        initialization=INITIALIZATION,
        drop_rate=0.2,
        family="rexnet",
    )


NETWORKS: Networks = {
    "Han et al. 2021 (ReXNet)": {
        "rexnet_100": rexnet(1.0),
        "rexnet_130": rexnet(1.3),
        "rexnet_150": rexnet(1.5),
        "rexnet_200": rexnet(2.0),
        "rexnet_300": rexnet(3.0),
        "rexnetr_100": rexnet(1.0, 8),
        "rexnetr_130": rexnet(1.3, 8),
        "rexnetr_150": rexnet(1.5, 8),
        "rexnetr_200": rexnet(2.0, 8),
        "rexnetr_300": rexnet(3.0, 16),
    }
}
