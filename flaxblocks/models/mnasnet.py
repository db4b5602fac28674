"""MNASNet: the search's model without gates ("B1"), as in torchvision."""

from functools import partial
from math import sqrt

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.initializers import FanOutUniform, Initialization, kaiming_normal, zeros
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import InvertedRow, inverted_stage
from flaxblocks.models.scaling import make_divisible

FIGURE_7 = (  # features, depth, stride, expansion, kernel
    (16, 1, 1, 1, 3),
    (24, 3, 2, 3, 3),
    (40, 3, 2, 3, 5),
    (80, 3, 2, 6, 5),
    (96, 2, 1, 6, 3),
    (192, 4, 2, 6, 5),
    (320, 1, 1, 6, 3),
)
"""Tan et al. 2019, figure 7 (a) without gates."""

BATCH_NORM = partial(BatchNorm, momentum=0.9997)

INITIALIZATION = Initialization(
    conv=kaiming_normal,
    linear=FanOutUniform(sqrt(3)),
    linear_bias=zeros,
)


def mnasnet(width: float) -> Architecture:
    """Describe an MNASNet.

    Args:
        width: factor of all channels but the last 1280.
    """
    rows = [
        InvertedRow(make_divisible(width * features), depth, stride, expansion, kernel_size=kernel)
        for features, depth, stride, expansion, kernel in FIGURE_7
    ]
    return Architecture(
        stem=partial(Stem, features=(make_divisible(width * 32),), norm=BATCH_NORM),
        stages=tuple(inverted_stage([row], norm=BATCH_NORM) for row in rows),
        head=partial(Head, conv_features=1280, conv_norm=BATCH_NORM),
        initialization=INITIALIZATION,
        drop_rate=0.2,
        family="mnasnet",
    )


NETWORKS: Networks = {
    "Tan et al. 2019 (MnasNet)": {
        "mnasnet0_5": mnasnet(0.5),
        "mnasnet0_75": mnasnet(0.75),
        "mnasnet1_0": mnasnet(1.0),
        "mnasnet1_3": mnasnet(1.3),
    }
}
