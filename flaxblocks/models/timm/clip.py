"""timm's image towers of CLIP: ResNets that average where others have strides."""

from functools import partial
from typing import Any

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.attention_head import AttentionHead
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import BatchNorm
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.resnet import WIDE
from flaxblocks.models.timm.byob import bottle, plain
from flaxblocks.models.timm.resnet import AVERAGE
from flaxblocks.models.timm.resnet_table import R50, R101


def clip(depths: tuple[int, ...], factor: float = 1, **parts: Any) -> Architecture:
    """Describe an image tower.

    Args:
        depths: blocks of each stage.
        factor: factor of all channels.
        **parts: other arguments of `byobnet`.

    Source: Radford et al. 2021, section 2.4.
    """
    return plain(
        depths,
        tuple(int(features * factor) for features in WIDE.stages),
        partial(bottle, shortcut=PooledProjection),
        stem=partial(
            Stem,
            features=tuple(int(features * factor) for features in (32, 32, 64)),
            pool=AVERAGE.stem,
        ),
        pool=AVERAGE.block,
        **parts,
    )


def attentive(depths: tuple[int, ...], factor: float, pixels: int, features: int) -> Architecture:
    """Describe the tower with its attention.

    Args:
        depths: blocks of each stage.
        factor: factor of all channels.
        pixels: height and width of the last map of the images that it was trained on.
        features: length of the output.
    """
    head = partial(AttentionHead, size=(pixels, pixels))
    return clip(depths, factor, head=head, num_classes=features)


pooled = partial(clip, num_classes=0)

X4, X16, X64 = (4, 6, 10, 6), (6, 8, 18, 8), (3, 15, 36, 10)

NETWORKS: Networks = {
    "Radford et al. 2021 (CLIP)": {
        "resnet50_clip": attentive(R50, 1, 7, 1024),
        "resnet101_clip": attentive(R101, 1, 7, 512),
        "resnet50x4_clip": attentive(X4, 1.25, 9, 640),
        "resnet50x16_clip": attentive(X16, 1.5, 12, 768),
        "resnet50x64_clip": attentive(X64, 2, 14, 1024),
        "resnet50_clip_gap": pooled(R50),
        "resnet101_clip_gap": pooled(R101),
        "resnet50x4_clip_gap": pooled(X4, 1.25),
        "resnet50x16_clip_gap": pooled(X16, 1.5),
        "resnet50x64_clip_gap": pooled(X64, 2),
        "resnet50_mlp": clip(R50, head=partial(Head, norm=BatchNorm, hidden_features=1024)),
    },
}
