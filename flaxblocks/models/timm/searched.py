"""timm's networks from architecture search: MNASNet, FBNet, Single-Path NAS, TinyNet."""

from functools import partial

from flaxblocks.layers import BatchNorm
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.efficientnet import TABLE_1
from flaxblocks.models.inverted import Gate, InvertedRow, Stages, scaled, stages_of_one
from flaxblocks.models.mnasnet import FIGURE_7
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import Numerics, inverted_network
from flaxblocks.ops.activations import relu, silu

GATE = Gate(lambda in_features, _: in_features // 4)

B1 = stages_of_one(
    *(
        InvertedRow(features, depth, stride, expansion, kernel_size=kernel)
        for features, depth, stride, expansion, kernel in FIGURE_7
    )
)
A1 = stages_of_one(  # channels, layers, stride, expansion
    InvertedRow(16, 1, 1, 1),
    InvertedRow(24, 2, 2, 6),
    InvertedRow(40, 3, 2, 3, kernel_size=5, gate=GATE),
    InvertedRow(80, 4, 2, 6),
    InvertedRow(112, 2, 1, 6, gate=GATE),
    InvertedRow(160, 3, 2, 6, kernel_size=5, gate=GATE),
    InvertedRow(320, 1, 1, 6),
)
"""Tan et al. 2019 (MnasNet), figure 7 (a)."""

SMALL = stages_of_one(
    InvertedRow(8, 1, 1, 1),
    InvertedRow(16, 1, 2, 3),
    InvertedRow(16, 2, 2, 6),
    InvertedRow(32, 4, 2, 6, kernel_size=5, gate=GATE),
    InvertedRow(32, 3, 1, 6, gate=GATE),
    InvertedRow(88, 3, 2, 6, kernel_size=5, gate=GATE),
    InvertedRow(144, 1, 1, 6),
)


def mnasnet(stages: Stages, width: float = 1.0, stem_features: int = 32) -> Architecture:
    """Describe an MNASNet.

    Args:
        stages: the rows of each stage.
        width: factor of all channels but the last 1280.
        stem_features: channels after the stem, before scaling.
    """
    return inverted_network(
        scaled(stages, width=width),
        stem_features=make_divisible(stem_features * width),
        conv_features=1280,
        act=relu,
        family="mnasnet",
    )


_expanded = partial(InvertedRow, always_expand=True)

FBNET_C: Stages = (  # channels, layers, stride, expansion
    (_expanded(16, 1, 1, 1),),
    (_expanded(24, 1, 2, 6), _expanded(24, 2, 1, 1)),
    (
        InvertedRow(32, 1, 2, 6, kernel_size=5),
        InvertedRow(32, 1, 1, 3, kernel_size=5),
        InvertedRow(32, 1, 1, 6, kernel_size=5),
        InvertedRow(32, 1, 1, 6),
    ),
    (
        InvertedRow(64, 1, 2, 6, kernel_size=5),
        InvertedRow(64, 1, 1, 3, kernel_size=5),
        InvertedRow(64, 2, 1, 6, kernel_size=5),
    ),
    (InvertedRow(112, 3, 1, 6, kernel_size=5), InvertedRow(112, 1, 1, 3, kernel_size=5)),
    (InvertedRow(184, 4, 2, 6, kernel_size=5),),
    (InvertedRow(352, 1, 1, 6),),
)
"""Wu et al. 2019, FBNet-C."""

FBNET_NUMERICS = Numerics(partial(BatchNorm, epsilon=1e-3))
"""The normalization of the trained weights; without them timm has another epsilon."""

SINGLE_PATH: Stages = (
    (InvertedRow(16, 1, 1, 1),),
    (InvertedRow(24, 3, 2, 3),),
    (InvertedRow(40, 1, 2, 6, kernel_size=5), InvertedRow(40, 3, 1, 3)),
    (InvertedRow(80, 1, 2, 6, kernel_size=5), InvertedRow(80, 3, 1, 3)),
    (InvertedRow(96, 1, 1, 6, kernel_size=5), InvertedRow(96, 3, 1, 3, kernel_size=5)),
    (InvertedRow(192, 4, 2, 6, kernel_size=5),),
    (InvertedRow(320, 1, 1, 6),),
)
"""Stamoulis et al. 2019, the network found for the Pixel 1."""


def tinynet(width: float, depth: float) -> Architecture:
    """Describe a TinyNet, of which stem and head are EfficientNet-B0's.

    Args:
        width: factor of the channels.
        depth: factor of the layers, which are rounded to the nearest number.
    """
    return inverted_network(
        scaled(TABLE_1, width=width, depth=depth, round_depth=round),
        stem_features=32,
        conv_features=1280,
        act=silu,
    )


NETWORKS: Networks = {
    "Tan et al. 2019 (MnasNet)": {
        "mnasnet_050": mnasnet(B1, 0.5),
        "mnasnet_075": mnasnet(B1, 0.75),
        "mnasnet_100": mnasnet(B1),
        "mnasnet_140": mnasnet(B1, 1.4),
        "semnasnet_050": mnasnet(A1, 0.5),
        "semnasnet_075": mnasnet(A1, 0.75),
        "semnasnet_100": mnasnet(A1),
        "semnasnet_140": mnasnet(A1, 1.4),
        "mnasnet_small": mnasnet(SMALL, stem_features=8),
    },
    "Wu et al. 2019 (FBNet)": {
        "fbnetc_100": inverted_network(
            FBNET_C, stem_features=16, conv_features=1984, act=relu, numerics=FBNET_NUMERICS
        )
    },
    "Stamoulis et al. 2019 (Single-Path NAS)": {
        "spnasnet_100": inverted_network(
            SINGLE_PATH, stem_features=32, conv_features=1280, act=relu
        )
    },
    "Han et al. 2020 (TinyNet)": {
        "tinynet_a": tinynet(1.0, 1.2),
        "tinynet_b": tinynet(0.75, 1.1),
        "tinynet_c": tinynet(0.54, 0.85),
        "tinynet_d": tinynet(0.54, 0.695),
        "tinynet_e": tinynet(0.51, 0.6),
    },
}
