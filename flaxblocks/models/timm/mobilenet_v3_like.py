"""timm's relatives of MobileNetV3: LCNet and FBNetV3."""

from functools import partial

from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import Gate, InvertedRow, Stages, scaled
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import inverted_network, unbiased_convolution
from flaxblocks.models.timm.mobilenet_v3 import conv_row
from flaxblocks.ops.activations import hard_sigmoid, hard_swish

_separable = partial(InvertedRow, act=hard_swish, final_act=hard_swish, residual=False)
LCNET_GATE = Gate(lambda in_features, _: round(in_features / 4), gate=hard_sigmoid)
LCNET: Stages = (  # channels, layers, stride
    (_separable(32, 1, 1),),
    (_separable(64, 2, 2),),
    (_separable(128, 2, 2),),
    (_separable(256, 1, 2), _separable(256, 1, 1, kernel_size=5)),
    (_separable(256, 4, 1, kernel_size=5),),
    (_separable(512, 2, 2, kernel_size=5, gate=LCNET_GATE),),
)
"""Cui et al. 2021, table 1."""


def lcnet(width: float) -> Architecture:
    """Describe an LCNet with this factor of the channels."""
    return inverted_network(
        scaled(LCNET, width=width),
        stem_features=make_divisible(16 * width),
        hidden_features=1280,
        act=hard_swish,
    )


def _fbnet_gate(in_features: int, _: int) -> int:
    return make_divisible(in_features / 4, least=0.95)


FBNET_GATE = Gate(_fbnet_gate, act=hard_swish, gate=hard_sigmoid)


def _fbnet(
    kernel_size: int,
    expansion: float,
    features: int,
    stride: int,
    depth: int,
    gate: Gate | None = None,
) -> InvertedRow:
    return InvertedRow(
        features, depth, stride, expansion, kernel_size=kernel_size, act=hard_swish, gate=gate
    )


FBNET_V3_B: Stages = (  # kernel, expansion, channels, stride, layers
    (_fbnet(3, 1, 16, 1, 2),),
    (_fbnet(5, 4, 24, 2, 1), _fbnet(5, 2, 24, 1, 3)),
    (_fbnet(5, 5, 40, 2, 1, FBNET_GATE), _fbnet(5, 3, 40, 1, 4, FBNET_GATE)),
    (_fbnet(5, 5, 72, 2, 1), _fbnet(3, 3, 72, 1, 4)),
    (_fbnet(3, 5, 120, 1, 1, FBNET_GATE), _fbnet(5, 3, 120, 1, 5, FBNET_GATE)),
    (
        _fbnet(3, 6, 184, 2, 1, FBNET_GATE),
        _fbnet(5, 4, 184, 1, 5, FBNET_GATE),
        _fbnet(5, 6, 224, 1, 1, FBNET_GATE),
    ),
    (conv_row(1344, act=hard_swish),),
)
FBNET_V3_D: Stages = (
    (_fbnet(3, 1, 16, 1, 2),),
    (_fbnet(3, 5, 24, 2, 1), _fbnet(3, 2, 24, 1, 5)),
    (_fbnet(5, 4, 40, 2, 1, FBNET_GATE), _fbnet(3, 3, 40, 1, 4, FBNET_GATE)),
    (_fbnet(3, 5, 72, 2, 1), _fbnet(3, 3, 72, 1, 4)),
    (_fbnet(3, 5, 128, 1, 1, FBNET_GATE), _fbnet(5, 3, 128, 1, 6, FBNET_GATE)),
    (
        _fbnet(3, 6, 208, 2, 1, FBNET_GATE),
        _fbnet(5, 5, 208, 1, 5, FBNET_GATE),
        _fbnet(5, 6, 240, 1, 1, FBNET_GATE),
    ),
    (conv_row(1440, act=hard_swish),),
)
FBNET_V3_G: Stages = (
    (_fbnet(3, 1, 24, 1, 3),),
    (_fbnet(5, 4, 40, 2, 1), _fbnet(5, 2, 40, 1, 4)),
    (_fbnet(5, 4, 56, 2, 1, FBNET_GATE), _fbnet(5, 3, 56, 1, 4, FBNET_GATE)),
    (_fbnet(5, 5, 104, 2, 1), _fbnet(3, 3, 104, 1, 4)),
    (_fbnet(3, 5, 160, 1, 1, FBNET_GATE), _fbnet(5, 3, 160, 1, 8, FBNET_GATE)),
    (
        _fbnet(3, 6, 264, 2, 1, FBNET_GATE),
        _fbnet(5, 5, 264, 1, 6, FBNET_GATE),
        _fbnet(5, 6, 288, 1, 2, FBNET_GATE),
    ),
    (conv_row(1728, act=hard_swish),),
)
"""Dai et al. 2021, three of the networks found."""


def fbnet_v3(stages: Stages, stem_features: int) -> Architecture:
    """Describe an FBNetV3.

    Args:
        stages: the rows of each stage.
        stem_features: channels after the stem.
    """
    return inverted_network(
        stages,
        stem_features=stem_features,
        hidden_features=1984,
        hidden=unbiased_convolution,
        act=hard_swish,
    )


NETWORKS: Networks = {
    "Cui et al. 2021 (LCNet)": {
        "lcnet_035": lcnet(0.35),
        "lcnet_050": lcnet(0.5),
        "lcnet_075": lcnet(0.75),
        "lcnet_100": lcnet(1.0),
        "lcnet_150": lcnet(1.5),
    },
    "Dai et al. 2021 (FBNetV3)": {
        "fbnetv3_b": fbnet_v3(FBNET_V3_B, 16),
        "fbnetv3_d": fbnet_v3(FBNET_V3_D, 24),
        "fbnetv3_g": fbnet_v3(FBNET_V3_G, 32),
    },
}
