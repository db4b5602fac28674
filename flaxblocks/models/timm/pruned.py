"""timm's pruned EfficientNets and ECA-ResNets, each block of which has widths of its own."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.efficientnet import GATE, TABLE_1
from flaxblocks.models.inverted import InvertedRow, Stages, scaled
from flaxblocks.models.resnet import Widths, bottleneck
from flaxblocks.models.timm.efficientnet import SCALES
from flaxblocks.models.timm.inverted import TENSORFLOW, inverted_network
from flaxblocks.models.timm.resnet import D, resnet
from flaxblocks.ops.activations import silu

Mobile = tuple[int, tuple[int, ...], tuple[int, ...]]
"""A stage's channels, and its blocks' wide widths and gates' narrow widths."""

B1: tuple[Mobile, ...] = (
    (16, (32, 16), (8, 4)),
    (12, (48, 62, 48), (4, 6, 6)),
    (35, (70, 61, 51), (6, 10, 10)),
    (74, (175, 188, 137, 164), (10, 20, 20, 20)),
    (67, (399, 201, 160, 213), (20, 28, 28, 28)),
    (192, (637, 806, 798, 891, 990), (27, 48, 48, 48, 48)),
    (320, (1152, 1912), (48, 80)),
)
B2: tuple[Mobile, ...] = (
    (16, (32, 16), (8, 4)),
    (17, (54, 69, 61), (4, 6, 6)),
    (42, (86, 72, 98), (6, 12, 12)),
    (85, (245, 274, 254, 292), (12, 22, 22, 22)),
    (116, (502, 315, 354, 443), (22, 30, 30, 30)),
    (208, (719, 1148, 1160, 1182, 1228), (30, 52, 52, 52, 52)),
    (352, (1248, 2112), (52, 88)),
)
B3: tuple[Mobile, ...] = (
    (24, (40, 24), (10, 6)),
    (12, (27, 49, 48), (6, 8, 8)),
    (40, (83, 90, 85), (8, 12, 12)),
    (93, (215, 261, 219, 254, 236), (12, 24, 24, 24, 24)),
    (120, (480, 235, 217, 226, 340), (24, 34, 34, 33, 34)),
    (232, (802, 1030, 924, 1016, 1130, 1266), (34, 58, 58, 58, 58, 58)),
    (384, (1392, 2301), (58, 96)),
)

Residual = tuple[int, int, tuple[tuple[int, int], ...]]
"""A stage's channels, the length of its gates' kernels, and its blocks' two narrow widths."""

ECA_50: tuple[Residual, ...] = (
    (19, 5, ((47, 18), (52, 22), (64, 35))),
    (171, 5, ((85, 37), (107, 80), (120, 85), (125, 87))),
    (818, 5, ((198, 126), (255, 232), (256, 233), (253, 235), (256, 225), (256, 239))),
    (2022, 7, ((492, 237), (512, 500), (512, 490))),
)
ECA_101: tuple[Residual, ...] = (
    (26, 5, ((45, 25), (53, 20), (60, 27))),
    (142, 5, ((81, 24), (93, 49), (102, 54), (122, 78))),
    (
        278,
        5,
        (
            *((101, 25), (239, 160), (234, 156), (250, 176), (253, 191), (251, 175), (230, 128)),
            *((244, 154), (244, 159), (238, 97), (244, 149), (253, 181), (245, 119), (255, 216)),
            *((256, 201), (253, 149), (254, 141), (256, 190), (256, 217), (255, 156), (256, 155)),
            *((256, 232), (256, 214)),
        ),
    ),
    (2042, 7, ((499, 289), (512, 512), (512, 502))),
)


def _stage(row: InvertedRow, widths: Mobile) -> tuple[InvertedRow, ...]:
    """Return a row for each block of the stage."""
    features, hidden, squeezed = widths

    def block(place: int) -> InvertedRow:
        def squeeze(in_features: int, hidden_features: int) -> int:
            return squeezed[place]

        return replace(
            row,
            features=features,
            depth=1,
            stride=1 if place else row.stride,
            hidden_features=hidden[place],
            gate=replace(GATE, squeeze=squeeze),
        )

    return tuple(block(place) for place in range(len(hidden)))


def efficientnet_pruned(name: str, widths: Sequence[Mobile], stem_features: int) -> Architecture:
    """Describe the EfficientNet that was pruned to these widths, as trained in TensorFlow."""
    width, depth = SCALES[name]
    rows = [row for (row,) in scaled(TABLE_1, width=width, depth=depth)]
    stages: Stages = tuple(map(_stage, rows, widths))
    return inverted_network(
        stages,
        stem_features=stem_features,
        conv_features=4 * widths[-1][0],
        act=silu,
        numerics=TENSORFLOW,
        family="efficientnet",
    )


def eca_resnet_pruned(stages: tuple[Residual, ...]) -> Architecture:
    """Describe the ECA-ResNet-D that was pruned to these widths."""
    blocks = tuple(
        tuple(
            partial(
                bottleneck(),
                hidden_features=spatial,
                reduce_features=reduced,
                se=partial(EfficientChannelAttention, kernel_size=length),
            )
            for reduced, spatial in widths
        )
        for _, length, widths in stages
    )
    depths = tuple(len(widths) for *_, widths in stages)
    a, b, c, d = (features for features, *_ in stages)
    return resnet(depths, blocks, D, widths=Widths(64, (a, b, c, d)))


NETWORKS: Networks = {
    "Aflalo et al. 2020 (pruned)": {  # as timm lists the widths
        "efficientnet_b1_pruned": efficientnet_pruned("b1", B1, 32),
        "efficientnet_b2_pruned": efficientnet_pruned("b2", B2, 32),
        "efficientnet_b3_pruned": efficientnet_pruned("b3", B3, 40),
        "ecaresnet50d_pruned": eca_resnet_pruned(ECA_50),
        "ecaresnet101d_pruned": eca_resnet_pruned(ECA_101),
    },
}
