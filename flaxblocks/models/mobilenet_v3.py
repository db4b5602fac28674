"""MobileNetV3."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.models.architecture import Architecture
from flaxblocks.models.backbone import Backbone
from flaxblocks.models.inverted import Gate, InvertedRow, inverted_stage
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, hard_sigmoid, hard_swish, relu


class MobileNetV3(Backbone):
    """A network of gated inverted residuals; see `Backbone` for the arguments.

    Source: Howard et al. 2019.
    """


BATCH_NORM = partial(BatchNorm, epsilon=1e-3, momentum=0.99)  # PyTorch's momentum 0.01
GATE = Gate(lambda _, hidden: make_divisible(hidden // 4), gate=hard_sigmoid)

INITIALIZATION = Initialization(
    conv=kaiming_normal, conv_bias=zeros, linear=Normal(0.01), linear_bias=zeros
)


def _row(
    kernel_size: int, hidden: int, features: int, gate: Gate | None, act: Activation, stride: int
) -> InvertedRow:
    """Return a row of the paper's tables, columns in their order."""
    return InvertedRow(
        features,
        stride=stride,
        hidden_features=hidden,
        kernel_size=kernel_size,
        act=act,
        gate=gate,
    )


TABLE_1 = (  # kernel, exp size, #out, SE, NL, s
    (_row(3, 16, 16, None, relu, 1),),
    (_row(3, 64, 24, None, relu, 2), _row(3, 72, 24, None, relu, 1)),
    (
        _row(5, 72, 40, GATE, relu, 2),
        _row(5, 120, 40, GATE, relu, 1),
        _row(5, 120, 40, GATE, relu, 1),
    ),
    (
        _row(3, 240, 80, None, hard_swish, 2),
        _row(3, 200, 80, None, hard_swish, 1),
        _row(3, 184, 80, None, hard_swish, 1),
        _row(3, 184, 80, None, hard_swish, 1),
    ),
    (_row(3, 480, 112, GATE, hard_swish, 1), _row(3, 672, 112, GATE, hard_swish, 1)),
    (
        _row(5, 672, 160, GATE, hard_swish, 2),
        _row(5, 960, 160, GATE, hard_swish, 1),
        _row(5, 960, 160, GATE, hard_swish, 1),
    ),
)
"""Howard et al. 2019, table 1: MobileNetV3-Large, a stage for each number of channels."""

TABLE_2 = (  # kernel, exp size, #out, SE, NL, s
    (_row(3, 16, 16, GATE, relu, 2),),
    (_row(3, 72, 24, None, relu, 2), _row(3, 88, 24, None, relu, 1)),
    (
        _row(5, 96, 40, GATE, hard_swish, 2),
        _row(5, 240, 40, GATE, hard_swish, 1),
        _row(5, 240, 40, GATE, hard_swish, 1),
    ),
    (_row(5, 120, 48, GATE, hard_swish, 1), _row(5, 144, 48, GATE, hard_swish, 1)),
    (
        _row(5, 288, 96, GATE, hard_swish, 2),
        _row(5, 576, 96, GATE, hard_swish, 1),
        _row(5, 576, 96, GATE, hard_swish, 1),
    ),
)
"""Howard et al. 2019, table 2: MobileNetV3-Small."""


def mobilenet_v3(table: Sequence[Sequence[InvertedRow]], hidden_features: int) -> Architecture:
    """Describe a MobileNetV3.

    Args:
        table: the rows of each stage.
        hidden_features: width of the layer before the classifier.
    """
    return Architecture(
        stem=partial(Stem, features=(16,), norm=BATCH_NORM, act=hard_swish),
        stages=tuple(inverted_stage(rows, norm=BATCH_NORM) for rows in table),
        head=partial(
            Head,
            conv_features=6 * table[-1][-1].features,
            hidden_features=hidden_features,
            conv_norm=BATCH_NORM,
            act=hard_swish,
        ),
        initialization=INITIALIZATION,
        drop_rate=0.2,
    )


MODELS: Mapping[str, Architecture] = MappingProxyType(
    {
        "mobilenet_v3_large": mobilenet_v3(TABLE_1, 1280),
        "mobilenet_v3_small": mobilenet_v3(TABLE_2, 1024),
    }
)
