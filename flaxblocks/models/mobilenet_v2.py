"""MobileNetV2."""

from functools import partial

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import InvertedRow, inverted_stage
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import relu6

TABLE_2 = (  # c, n, s, t
    (16, 1, 1, 1),
    (24, 2, 2, 6),
    (32, 3, 2, 6),
    (64, 4, 2, 6),
    (96, 3, 1, 6),
    (160, 3, 2, 6),
    (320, 1, 1, 6),
)
"""Sandler et al. 2018, table 2: channels, blocks, stride, expansion."""

INITIALIZATION = Initialization(
    conv=kaiming_normal, conv_bias=zeros, linear=Normal(0.01), linear_bias=zeros
)


def mobilenet_v2(width: float = 1.0) -> Architecture:
    """Describe a MobileNetV2.

    Args:
        width: factor of all channels; the last ones are never fewer than the paper's 1280.
    """
    rows = [
        InvertedRow(make_divisible(width * c), n, s, expansion=t, act=relu6)
        for c, n, s, t in TABLE_2
    ]
    return Architecture(
        stem=partial(Stem, features=(make_divisible(width * 32),), act=relu6),
        stages=tuple(inverted_stage([row]) for row in rows),
        head=partial(Head, conv_features=make_divisible(max(1.0, width) * 1280), act=relu6),
        initialization=INITIALIZATION,
        drop_rate=0.2,
        family="mobilenet_v2",
    )


NETWORKS: Networks = {"Sandler et al. 2018": {"mobilenet_v2": mobilenet_v2()}}
