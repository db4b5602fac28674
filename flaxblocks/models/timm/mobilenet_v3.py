"""timm's MobileNetV3."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from flaxblocks.blocks import FusedMBConv
from flaxblocks.models.architecture import Architecture
from flaxblocks.models.backbone import Backbone
from flaxblocks.models.inverted import Gate, InvertedRow, Stages, scaled
from flaxblocks.models.mobilenet_v3 import GATE
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import (
    PYTORCH,
    TENSORFLOW,
    Numerics,
    inverted_network,
    unbiased_convolution,
)
from flaxblocks.ops.activations import Activation, hard_sigmoid, hard_swish, relu


class ConvStageMobileNet(Backbone):
    """A MobileNetV3 whose last convolution is a stage of its own; see `Backbone`.

    Source: Howard et al. 2019.
    """


conv_row = partial(InvertedRow, kernel_size=1, block=FusedMBConv, residual=False)
"""A plain convolution with normalisation and activation."""


def _row(
    kernel_size: int,
    expansion: float,
    features: int,
    gate: Gate | None,
    act: Activation,
    stride: int,
    depth: int = 1,
) -> InvertedRow:
    """Return a row of the paper's tables, columns in their order."""
    return InvertedRow(
        features, depth, stride, expansion, kernel_size=kernel_size, act=act, gate=gate
    )


TABLE_1: Stages = (  # kernel, expansion, #out, SE, NL, s, layers
    (_row(3, 1, 16, None, relu, 1),),
    (_row(3, 4, 24, None, relu, 2), _row(3, 3, 24, None, relu, 1)),
    (_row(5, 3, 40, GATE, relu, 2, 3),),
    (
        _row(3, 6, 80, None, hard_swish, 2),
        _row(3, 2.5, 80, None, hard_swish, 1),
        _row(3, 2.3, 80, None, hard_swish, 1, 2),
    ),
    (_row(3, 6, 112, GATE, hard_swish, 1, 2),),
    (_row(5, 6, 160, GATE, hard_swish, 2, 3),),
    (conv_row(960, act=hard_swish),),
)
TABLE_2: Stages = (
    (_row(3, 1, 16, GATE, relu, 2),),
    (_row(3, 4.5, 24, None, relu, 2), _row(3, 3.67, 24, None, relu, 1)),
    (_row(5, 4, 40, GATE, hard_swish, 2), _row(5, 6, 40, GATE, hard_swish, 1, 2)),
    (_row(5, 3, 48, GATE, hard_swish, 1, 2),),
    (_row(5, 6, 96, GATE, hard_swish, 2, 3),),
    (conv_row(576, act=hard_swish),),
)
"""Howard et al. 2019, tables 1 and 2, the widths as multiples so that they scale."""


def minimal(stages: Stages) -> Stages:
    """Return a table without what some phones are slow at: gates, large kernels, hard swish."""
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
        numerics: the normalisation and the padding.
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
    """Return a row as timm had it first: gates with the block's activation, no early shortcut."""
    gate = row.gate and replace(RW_GATE, act=row.act)
    return replace(row, gate=gate, residual=row.residual and row.expansion > 1)


_large = partial(mobilenet_v3, TABLE_1, 1280)
_small = partial(mobilenet_v3, TABLE_2, 1024)
_tf_large = partial(_large, numerics=TENSORFLOW)
_tf_small = partial(_small, numerics=TENSORFLOW)
_tf_minimal = partial(mobilenet_v3, act=relu, numerics=TENSORFLOW)

MODELS: Mapping[str, Architecture] = MappingProxyType(
    {
        "mobilenetv3_large_075": _large(0.75),
        "mobilenetv3_large_100": _large(1.0),
        "mobilenetv3_large_150d": _large(1.5, 1.2),
        "mobilenetv3_small_050": _small(0.5),
        "mobilenetv3_small_075": _small(0.75),
        "mobilenetv3_small_100": _small(1.0),
        "mobilenetv3_rw": inverted_network(
            tuple(tuple(_rw(row) for row in rows) for rows in TABLE_1),
            stem_features=16,
            hidden_features=1280,
            hidden=unbiased_convolution,
            act=hard_swish,
            numerics=replace(TENSORFLOW, padding=None),
        ),
        "tf_mobilenetv3_large_075": _tf_large(0.75),
        "tf_mobilenetv3_large_100": _tf_large(1.0),
        "tf_mobilenetv3_large_minimal_100": _tf_minimal(minimal(TABLE_1), 1280),
        "tf_mobilenetv3_small_075": _tf_small(0.75),
        "tf_mobilenetv3_small_100": _tf_small(1.0),
        "tf_mobilenetv3_small_minimal_100": _tf_minimal(minimal(TABLE_2), 1024),
    }
)
