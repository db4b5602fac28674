"""timm's Res2Nets and Res2NeXt."""

from functools import partial
from typing import Any

from flaxblocks.blocks import BottleNeck, projection
from flaxblocks.blocks.multi_scale import MultiScale
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.timm.resnet import B, D, Style, resnet
from flaxblocks.models.timm.resnet_table import R50, R101

FEATURES = (64, 128, 256, 512)


def _block(
    in_features: int, out_features: int, *, scale: int, stride: int, **arguments: Any
) -> BottleNeck:
    """Make a bottleneck; where the shape changes, its parts are convolved independently."""
    first = in_features != out_features or stride != 1
    spatial = partial(MultiScale, scale=scale, first=first)
    return BottleNeck(in_features, out_features, stride=stride, spatial=spatial, **arguments)


def res2net(
    depths: tuple[int, int, int, int],
    base_width: int,
    scale: int,
    *,
    groups: int = 1,
    style: Style = B,
) -> Architecture:
    """Describe a Res2Net.

    Args:
        depths: blocks of each stage.
        base_width: channels per group of each 3x3 convolution in the first stage.
        scale: parts into which the channels are split; all but the last are convolved.
        groups: groups of these convolutions.
        style: the stem's convolutions and the shortcuts.
    """
    block = partial(_block, scale=scale, groups=groups, use_bias=False, shortcut=projection)
    blocks = (
        partial(block, hidden_features=features * base_width // 64 * groups * scale)
        for features in FEATURES
    )
    return resnet(depths, tuple(blocks), style)


NETWORKS: Networks = {
    "Gao et al. 2019 (Res2Net)": {
        "res2net50_26w_4s": res2net(R50, 26, 4),
        "res2net101_26w_4s": res2net(R101, 26, 4),
        "res2net50_26w_6s": res2net(R50, 26, 6),
        "res2net50_26w_8s": res2net(R50, 26, 8),
        "res2net50_48w_2s": res2net(R50, 48, 2),
        "res2net50_14w_8s": res2net(R50, 14, 8),
        "res2next50": res2net(R50, 4, 4, groups=8),
        "res2net50d": res2net(R50, 26, 4, style=D),
        "res2net101d": res2net(R101, 26, 4, style=D),
    }
}
