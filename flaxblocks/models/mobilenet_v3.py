"""MobileNetV3."""

from functools import partial

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.dilation import dilate_all
from flaxblocks.models.inverted import Gate, InvertedRow, Stages, inverted_stage
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, hard_sigmoid, hard_swish, relu

BATCH_NORM = partial(BatchNorm, epsilon=1e-3, momentum=0.99)  # PyTorch's momentum 0.01
GATE = Gate(lambda _, hidden: make_divisible(hidden // 4), gate=hard_sigmoid)

INITIALIZATION = Initialization(
    conv=kaiming_normal, conv_bias=zeros, linear=Normal(0.01), linear_bias=zeros
)


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
)
TABLE_2: Stages = (
    (_row(3, 1, 16, GATE, relu, 2),),
    (_row(3, 4.5, 24, None, relu, 2), _row(3, 3.67, 24, None, relu, 1)),
    (_row(5, 4, 40, GATE, hard_swish, 2), _row(5, 6, 40, GATE, hard_swish, 1, 2)),
    (_row(5, 3, 48, GATE, hard_swish, 1, 2),),
    (_row(5, 6, 96, GATE, hard_swish, 2, 3),),
)
"""Howard et al. 2019, tables 1 and 2; the wide widths as multiples, so that they scale."""


def mobilenet_v3(table: Stages, hidden_features: int) -> Architecture:
    """Describe a MobileNetV3.

    Args:
        table: the rows of each stage.
        hidden_features: width of the layer before the classifier.
    """
    return Architecture(
        stem=partial(Stem, features=(16,), norm=BATCH_NORM, act=hard_swish),
        stages=tuple(inverted_stage(rows, norm=BATCH_NORM, dilate=dilate_all) for rows in table),
        head=partial(
            Head,
            conv_features=6 * table[-1][-1].features,
            hidden_features=hidden_features,
            conv_norm=BATCH_NORM,
            act=hard_swish,
        ),
        initialization=INITIALIZATION,
        drop_rate=0.2,
        family="mobilenet_v3",
    )


NETWORKS: Networks = {
    "Howard et al. 2019": {
        "mobilenet_v3_large": mobilenet_v3(TABLE_1, 1280),
        "mobilenet_v3_small": mobilenet_v3(TABLE_2, 1024),
    }
}
