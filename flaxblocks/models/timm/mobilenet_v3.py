"""timm's MobileNetV3."""

from dataclasses import replace
from functools import partial

from flaxblocks.blocks import FusedMBConv
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import Gate, InvertedRow, Stages, scaled
from flaxblocks.models.mobilenet_v3 import TABLE_1, TABLE_2
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import (
    PYTORCH,
    TENSORFLOW,
    Numerics,
    inverted_network,
    unbiased_convolution,
)
from flaxblocks.ops.activations import Activation, hard_sigmoid, hard_swish, relu

conv_row = partial(InvertedRow, kernel_size=1, block=FusedMBConv, residual=False)
"""A plain convolution with normalization and activation."""

LARGE: Stages = (*TABLE_1, (conv_row(960, act=hard_swish),))
SMALL: Stages = (*TABLE_2, (conv_row(576, act=hard_swish),))
"""The paper's tables, with the last convolution as a stage of its own."""


def minimal(stages: Stages) -> Stages:
    """Return the minimal variant: no gates, no kernels above 3x3, ReLU for hard swish."""
    return tuple(
        tuple(
            replace(row, kernel_size=min(3, row.kernel_size), act=relu, gate=None) for row in rows
        )
        for rows in stages
    )


def mobilenet_v3(
    stages: Stages,
    hidden_features: int,
    width: float = 1.0,
    depth: float = 1.0,
    *,
    act: Activation = hard_swish,
    numerics: Numerics = PYTORCH,
) -> Architecture:
    """Describe a MobileNetV3.

    Args:
        stages: the rows of each stage.
        hidden_features: width of the layer before the classifier.
        width: factor of the channels; the stem's become no fewer than 3/4.
        depth: factor of the layers.
        act: activation of stem and head.
        numerics: the normalization and the padding.
    """
    return inverted_network(
        scaled(stages, width=width, depth=depth),
        stem_features=16 if width < 0.75 else make_divisible(16 * width),
        hidden_features=hidden_features,
        act=act,
        numerics=numerics,
    )


RW_GATE = Gate(lambda _, hidden: round(hidden / 4), gate=hard_sigmoid)


def _rw(row: InvertedRow) -> InvertedRow:
    """Return a row of timm's first version: block's activation in gates, no early shortcut."""
    gate = row.gate and replace(RW_GATE, act=row.act)
    return replace(row, gate=gate, residual=row.residual and row.expansion > 1)


_large = partial(mobilenet_v3, LARGE, 1280)
_small = partial(mobilenet_v3, SMALL, 1024)
_tf_large = partial(_large, numerics=TENSORFLOW)
_tf_small = partial(_small, numerics=TENSORFLOW)
_tf_minimal = partial(mobilenet_v3, act=relu, numerics=TENSORFLOW)

NETWORKS: Networks = {
    "Howard et al. 2019": {
        "mobilenetv3_large_075": _large(0.75),
        "mobilenetv3_large_100": _large(1.0),
        "mobilenetv3_large_150d": _large(1.5, 1.2),
        "mobilenetv3_small_050": _small(0.5),
        "mobilenetv3_small_075": _small(0.75),
        "mobilenetv3_small_100": _small(1.0),
        "mobilenetv3_rw": inverted_network(
            tuple(tuple(_rw(row) for row in rows) for rows in LARGE),
            stem_features=16,
            hidden_features=1280,
            hidden=unbiased_convolution,
            act=hard_swish,
            numerics=replace(TENSORFLOW, padding=None),
        ),
        "tf_mobilenetv3_large_075": _tf_large(0.75),
        "tf_mobilenetv3_large_100": _tf_large(1.0),
        "tf_mobilenetv3_large_minimal_100": _tf_minimal(minimal(LARGE), 1280),
        "tf_mobilenetv3_small_075": _tf_small(0.75),
        "tf_mobilenetv3_small_100": _tf_small(1.0),
        "tf_mobilenetv3_small_minimal_100": _tf_minimal(minimal(SMALL), 1024),
    }
}
