"""timm's MobileNets of the first two versions, and those found for the Edge TPU."""

from collections.abc import Sequence
from functools import partial

from flaxblocks.blocks import FusedMBConv
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.inverted import InvertedRow, Stages, scaled, stages_of_one
from flaxblocks.models.mobilenet_v2 import TABLE_2
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import inverted_network
from flaxblocks.ops.activations import relu, relu6

_separable = partial(InvertedRow, act=relu6, final_act=relu6, residual=False)
_fused = partial(InvertedRow, block=FusedMBConv)

TABLE_1 = stages_of_one(  # channels, layers, stride
    _separable(64, 1, 1),
    _separable(128, 2, 2),
    _separable(256, 2, 2),
    _separable(512, 6, 2),
    _separable(1024, 2, 2),
)
"""Howard et al. 2017, table 1."""


def mobilenet_v1(width: float, *, conv_features: int | None = None) -> Architecture:
    """Describe a MobileNetV1.

    Args:
        width: factor of the channels.
        conv_features: channels after the head's convolution; None for no convolution.
    """
    return inverted_network(
        scaled(TABLE_1, width=width),
        stem_features=make_divisible(32 * width),
        conv_features=conv_features,
        act=relu6,
    )


def _version2(width: float, depth: float | Sequence[float], stem: int, head: int) -> Architecture:
    stages = stages_of_one(
        *(InvertedRow(c, n, s, expansion=t, act=relu6) for c, n, s, t in TABLE_2)
    )
    return inverted_network(
        scaled(stages, width=width, depth=depth),
        stem_features=stem,
        conv_features=head,
        act=relu6,
        family="mobilenet_v2",
    )


def mobilenet_v2(width: float) -> Architecture:
    """Describe a MobileNetV2 whose last layer is at least as wide as the paper's."""
    return _version2(width, 1, make_divisible(32 * width), max(1280, make_divisible(1280 * width)))


def mobilenet_v2_deep(width: float, depth: float) -> Architecture:
    """Describe a MobileNetV2 whose stem and head are not scaled."""
    return _version2(width, (1, *(depth,) * (len(TABLE_2) - 2), 1), 32, 1280)


EDGE_TPU: Stages = (  # channels, layers, stride, expansion
    (_fused(16, 1, 1, 1, kernel_size=1, residual=False),),
    (_fused(32, 1, 2, 8), _fused(32, 3, 1, 4)),
    (_fused(48, 1, 2, 8), _fused(48, 3, 1, 4)),
    (InvertedRow(96, 1, 2, 8), InvertedRow(96, 3, 1, 4)),
    (InvertedRow(96, 1, 1, 8, residual=False), InvertedRow(96, 3, 1, 4)),
    (InvertedRow(160, 1, 2, 8, kernel_size=5), InvertedRow(160, 3, 1, 4, kernel_size=5)),
    (InvertedRow(192, 1, 1, 8),),
)


def edge_tpu_v2(
    widths: tuple[int, int, int, int, int, int, int],
    *,
    group_size: int = 64,
    stem_features: int = 64,
    stem_kernel_size: int = 5,
    conv_features: int = 1280,
) -> Architecture:
    """Describe a MobileNet-EdgeTPU-V2.

    Args:
        widths: channels after each stage.
        group_size: channels that the grouped convolutions mix.
        stem_features: channels after the stem.
        stem_kernel_size: height and width of the stem's kernel in pixels.
        conv_features: channels after the head's convolution.
    """
    a, b, c, d, e, f, g = widths
    grouped = partial(_fused, stride=1, expansion=4, group_size=group_size)
    stages = (
        (_fused(a, 1, 1, 1, kernel_size=1, residual=False),),
        (_fused(b, 1, 2, 8), grouped(b)),
        (_fused(c, 1, 2, 8), grouped(c), _fused(c, 1, 1, 4), grouped(c)),
        (_fused(d, 1, 2, 8), InvertedRow(d, 3, 1, 4)),
        (InvertedRow(e, 1, 1, 8), InvertedRow(e, 3, 1, 4)),
        (InvertedRow(f, 1, 2, 8), InvertedRow(f, 3, 1, 4)),
        (InvertedRow(g, 1, 1, 8),),
    )
    return inverted_network(
        stages,
        stem_features=stem_features,
        stem_kernel_size=stem_kernel_size,
        conv_features=conv_features,
        act=relu,
    )


NETWORKS: Networks = {
    "Howard et al. 2017": {
        "mobilenetv1_100": mobilenet_v1(1.0),
        "mobilenetv1_100h": mobilenet_v1(1.0, conv_features=1024),
        "mobilenetv1_125": mobilenet_v1(1.25),
    },
    "Sandler et al. 2018": {
        "mobilenetv2_035": mobilenet_v2(0.35),
        "mobilenetv2_050": mobilenet_v2(0.5),
        "mobilenetv2_075": mobilenet_v2(0.75),
        "mobilenetv2_100": mobilenet_v2(1.0),
        "mobilenetv2_140": mobilenet_v2(1.4),
        "mobilenetv2_110d": mobilenet_v2_deep(1.1, 1.2),
        "mobilenetv2_120d": mobilenet_v2_deep(1.2, 1.4),
    },
    "Howard and Gupta 2019 (MobileNet-EdgeTPU)": {
        "mobilenet_edgetpu_100": inverted_network(
            EDGE_TPU, stem_features=32, conv_features=1280, act=relu
        ),
    },
    "Akin et al. 2022 (MobileNet-EdgeTPU-V2)": {
        "mobilenet_edgetpu_v2_xs": edge_tpu_v2(
            (16, 32, 48, 96, 144, 160, 192), stem_features=32, stem_kernel_size=3
        ),
        "mobilenet_edgetpu_v2_s": edge_tpu_v2((24, 48, 64, 128, 160, 192, 256)),
        "mobilenet_edgetpu_v2_m": edge_tpu_v2((32, 64, 80, 160, 192, 240, 320), conv_features=1344),
        "mobilenet_edgetpu_v2_l": edge_tpu_v2(
            (32, 64, 96, 192, 240, 256, 384),
            group_size=128,
            stem_kernel_size=7,
            conv_features=1408,
        ),
    },
}
