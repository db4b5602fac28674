"""timm's HardCoRe-NAS networks."""

from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import InvertedRow, Stages
from flaxblocks.models.mobilenet_v3 import GATE
from flaxblocks.models.timm.inverted import inverted_network
from flaxblocks.models.timm.mobilenet_v3 import conv_row
from flaxblocks.ops.activations import hard_swish, relu

WIDTHS = (24, 40, 80, 112, 192)
STRIDES = (2, 2, 2, 1, 2)

Blocks = tuple[tuple[int, int, bool], ...]
"""Kernel, expansion, and whether there is a gate, of each block of a stage."""


def hardcorenas(*stages: Blocks) -> Architecture:
    """Describe a HardCoRe-NAS network from the blocks of its five searched stages."""
    rows: Stages = ((InvertedRow(16),),)
    for number, (blocks, width, stride) in enumerate(zip(stages, WIDTHS, STRIDES, strict=True)):
        rows += (
            tuple(
                InvertedRow(
                    width,
                    1,
                    1 if place else stride,
                    expansion,
                    kernel_size=kernel,
                    act=relu if number < 2 else hard_swish,
                    gate=GATE if gated else None,
                )
                for place, (kernel, expansion, gated) in enumerate(blocks)
            ),
        )
    return inverted_network(
        (*rows, (conv_row(960, act=hard_swish),)),
        stem_features=32,
        hidden_features=1280,
        act=hard_swish,
    )


K3, K5, K3_GATED, K5_GATED = (3, 3, False), (5, 3, False), (3, 3, True), (5, 3, True)
W3, W5, W3_GATED, W5_GATED = (3, 6, False), (5, 6, False), (3, 6, True), (5, 6, True)
M5, M3_GATED, M5_GATED = (5, 4, False), (3, 4, True), (5, 4, True)

FIRST = (K5, K5_GATED)
FIRST_GATED = (K5_GATED, K5_GATED)

NETWORKS: Networks = {
    "Nayman et al. 2021 (HardCoRe-NAS)": {
        "hardcorenas_a": hardcorenas(
            FIRST,
            (K5, W5_GATED),
            (W5_GATED, W5_GATED),
            (W5_GATED, W5_GATED),
            (W5_GATED, W5_GATED),
        ),
        "hardcorenas_b": hardcorenas(
            (K5, K5_GATED, K3),
            (K5, K5, K5),
            (K5, K5, K3, K3),
            (K5, K3, K3, K3),
            (W5_GATED, W5_GATED, K3_GATED),
        ),
        "hardcorenas_c": hardcorenas(
            FIRST,
            (K5, K5, K5, K5),
            (M5, W5_GATED, K3, K3),
            (W5_GATED, K3, K3, K3),
            (W5_GATED, W5_GATED, K3_GATED),
        ),
        "hardcorenas_d": hardcorenas(
            FIRST_GATED,
            (K5_GATED, M5_GATED, K3_GATED),
            (M5_GATED, K3_GATED, K3_GATED, K3_GATED),
            (M3_GATED, M5_GATED, K3_GATED, K5_GATED),
            (W5_GATED, W5_GATED, W5_GATED, W3_GATED),
        ),
        "hardcorenas_e": hardcorenas(
            FIRST_GATED,
            (W5_GATED, M5_GATED, M5_GATED, K3_GATED),
            (M5_GATED, W3_GATED),
            (W5_GATED, W5_GATED, W5_GATED, K5_GATED),
            (W5_GATED, W5_GATED, W5_GATED, W3_GATED),
        ),
        "hardcorenas_f": hardcorenas(
            FIRST_GATED,
            (W5_GATED, W5_GATED),
            (W5_GATED, W5_GATED, K3_GATED, K3_GATED),
            (W3_GATED, W5_GATED, W5_GATED, K3_GATED),
            (W5_GATED, W5_GATED, W3_GATED, W3_GATED),
        ),
    }
}
