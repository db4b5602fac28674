"""EfficientNet and EfficientNetV2."""

from functools import partial

from flaxblocks.blocks import FusedMBConv, Head, Stem
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.initializers import FanOutUniform, Initialization, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, ramp_below
from flaxblocks.models.inverted import (
    Gate,
    InvertedRow,
    Stages,
    inverted_stage,
    scaled,
    stages_of_one,
)
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import silu

GATE = Gate(lambda in_features, _: max(1, in_features // 4), act=silu)
_row = partial(InvertedRow, act=silu, gate=GATE)
_fused = partial(InvertedRow, act=silu, block=FusedMBConv)

TABLE_1 = stages_of_one(  # channels, layers, stride, expansion
    _row(16, 1, 1, 1),
    _row(24, 2, 2, 6),
    _row(40, 2, 2, 6, kernel_size=5),
    _row(80, 3, 2, 6),
    _row(112, 3, 1, 6, kernel_size=5),
    _row(192, 4, 2, 6, kernel_size=5),
    _row(320, 1, 1, 6),
)
"""Tan and Le 2019, table 1: EfficientNet-B0, stages 2 to 8."""

V2_S = stages_of_one(  # channels, layers, stride, expansion
    _fused(24, 2, 1, 1),
    _fused(48, 4, 2, 4),
    _fused(64, 4, 2, 4),
    _row(128, 6, 2, 4),
    _row(160, 9, 1, 6),
    _row(256, 15, 2, 6),
)
"""Tan and Le 2021, table 4: EfficientNetV2-S, stages 1 to 6."""

V2_M = stages_of_one(
    _fused(24, 3, 1, 1),
    _fused(48, 5, 2, 4),
    _fused(80, 5, 2, 4),
    _row(160, 7, 2, 4),
    _row(176, 14, 1, 6),
    _row(304, 18, 2, 6),
    _row(512, 5, 1, 6),
)
V2_L = stages_of_one(
    _fused(32, 4, 1, 1),
    _fused(64, 7, 2, 4),
    _fused(96, 7, 2, 4),
    _row(192, 10, 2, 4),
    _row(224, 19, 1, 6),
    _row(384, 25, 2, 6),
    _row(640, 7, 1, 6),
)
"""EfficientNetV2-M and L, as the authors released them."""

B5_NORM = partial(BatchNorm, epsilon=1e-3, momentum=0.99)  # PyTorch's momentum 0.01
V2_NORM = partial(BatchNorm, epsilon=1e-3)

INITIALIZATION = Initialization(
    conv=kaiming_normal,
    conv_bias=zeros,
    linear=FanOutUniform(1.0),
    linear_bias=zeros,
)


def efficientnet(
    stages: Stages,
    *,
    stem_features: int,
    head_features: int,
    drop_rate: float,
    norm: ModuleFactory = BatchNorm,
) -> Architecture:
    """Describe an EfficientNet.

    Args:
        stages: the rows of each stage, scaled.
        stem_features: channels after the stem.
        head_features: channels after the head's convolution.
        drop_rate: dropout before the classifier.
        norm: makes each normalization, see `ConvNormAct`.
    """
    return Architecture(
        stem=partial(Stem, features=(stem_features,), norm=norm, act=silu),
        stages=tuple(inverted_stage(rows, norm=norm) for rows in stages),
        head=partial(Head, conv_features=head_features, conv_norm=norm, act=silu),
        initialization=INITIALIZATION,
        drop_rate=drop_rate,
        drop_path_rate=0.2,
        drop_path_ramp=ramp_below,
        family="efficientnet",
    )


def _version1(
    width: float, depth: float, drop_rate: float, norm: ModuleFactory = BatchNorm
) -> Architecture:
    stages = scaled(TABLE_1, width=width, depth=depth)
    return efficientnet(
        stages,
        stem_features=make_divisible(width * 32),
        head_features=4 * stages[-1][-1].features,
        drop_rate=drop_rate,
        norm=norm,
    )


def _version2(stages: Stages, drop_rate: float) -> Architecture:
    return efficientnet(
        stages,
        stem_features=stages[0][0].features,
        head_features=1280,
        drop_rate=drop_rate,
        norm=V2_NORM,
    )


NETWORKS: Networks = {
    "Tan and Le 2019": {  # width, depth, dropout: their released code
        "efficientnet_b0": _version1(1.0, 1.0, 0.2),
        "efficientnet_b1": _version1(1.0, 1.1, 0.2),
        "efficientnet_b2": _version1(1.1, 1.2, 0.3),
        "efficientnet_b3": _version1(1.2, 1.4, 0.3),
        "efficientnet_b4": _version1(1.4, 1.8, 0.4),
        "efficientnet_b5": _version1(1.6, 2.2, 0.4, B5_NORM),
        "efficientnet_b6": _version1(1.8, 2.6, 0.5, B5_NORM),
        "efficientnet_b7": _version1(2.0, 3.1, 0.5, B5_NORM),
    },
    "Tan and Le 2021 (EfficientNetV2)": {
        "efficientnet_v2_s": _version2(V2_S, 0.2),
        "efficientnet_v2_m": _version2(V2_M, 0.3),
        "efficientnet_v2_l": _version2(V2_L, 0.4),
    },
}
