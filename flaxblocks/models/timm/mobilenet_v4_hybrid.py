"""timm's MobileNetV4s with attention."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from flaxblocks.blocks import FusedMBConv
from flaxblocks.blocks.mobile_attention import MobileAttention
from flaxblocks.models.architecture import Networks
from flaxblocks.models.inverted import InvertedRow, Stages
from flaxblocks.models.timm.mobilenet_v3 import conv_row
from flaxblocks.models.timm.mobilenet_v4 import UniversalRow, mobilenet_v4
from flaxblocks.ops.activations import gelu, relu


@dataclass(frozen=True)
class AttentionRow(InvertedRow):
    """One attention block.

    Args:
        heads: see `MobileAttention`.
        head_features: likewise.
        key_stride: likewise.
    """

    heads: int = 4
    head_features: int = 64
    key_stride: int = 1

    def make_block(self, in_features: int, out_features: int, **arguments: Any) -> MobileAttention:
        """Return the block."""
        return MobileAttention(
            in_features,
            out_features,
            heads=self.heads,
            head_features=self.head_features,
            key_stride=self.key_stride,
            **arguments,
        )


def _row(
    start: int | None,
    middle: int | None,
    expansion: float,
    features: int,
    stride: int = 1,
    depth: int = 1,
) -> UniversalRow:
    """Return a row of the paper's tables, columns in their order."""
    return UniversalRow(
        features, depth, stride, expansion, start=start, middle=middle, layer_scale=1e-5
    )


_coarse_160 = AttentionRow(160, heads=4, head_features=64, key_stride=2)
_attention_256 = AttentionRow(256, heads=4, head_features=64)
_coarse_192 = AttentionRow(192, heads=8, head_features=48, key_stride=2)
_attention_512 = AttentionRow(512, heads=8, head_features=64)
_first = InvertedRow(48, 1, 2, 4, block=FusedMBConv)

MEDIUM: Stages = (
    (_first,),
    (_row(3, 5, 4, 80, 2), _row(3, 3, 2, 80)),
    (
        _row(3, 5, 6, 160, 2),
        _row(None, None, 2, 160),
        _row(3, 3, 4, 160),
        _row(3, 5, 4, 160),
        _coarse_160,
        _row(3, 3, 4, 160),
        _coarse_160,
        _row(3, None, 4, 160),
        _coarse_160,
        _row(3, 3, 4, 160),
        _coarse_160,
        _row(3, None, 4, 160),
    ),
    (
        _row(5, 5, 6, 256, 2),
        _row(5, 5, 4, 256),
        _row(3, 5, 4, 256, 1, 2),
        _row(None, None, 2, 256),
        _row(3, 5, 2, 256),
        _row(None, None, 2, 256),
        _row(None, None, 4, 256),
        _attention_256,
        _row(3, None, 4, 256),
        _attention_256,
        _row(5, 5, 4, 256),
        _attention_256,
        _row(5, None, 4, 256),
        _attention_256,
        _row(5, None, 4, 256),
    ),
    (conv_row(960),),
)
LARGE: Stages = (
    (_first,),
    (_row(3, 5, 4, 96, 2), _row(3, 3, 4, 96)),
    (
        _row(3, 5, 4, 192, 2),
        _row(3, 3, 4, 192, 1, 3),
        _row(3, 5, 4, 192),
        _row(5, 3, 4, 192, 1, 2),
        _coarse_192,
        _row(5, 3, 4, 192),
        _coarse_192,
        _row(5, 3, 4, 192),
        _coarse_192,
        _row(5, 3, 4, 192),
        _coarse_192,
        _row(3, None, 4, 192),
    ),
    (
        _row(5, 5, 4, 512, 2, 4),
        _row(5, None, 4, 512),
        _row(5, 3, 4, 512),
        _row(5, None, 4, 512, 1, 2),
        _row(5, 3, 4, 512),
        _row(5, 5, 4, 512),
        _attention_512,
        _row(5, None, 4, 512),
        _attention_512,
        _row(5, None, 4, 512),
        _attention_512,
        _row(5, None, 4, 512),
        _attention_512,
        _row(5, None, 4, 512),
    ),
    (conv_row(960),),
)
"""Qin et al. 2024, the tables of MNv4-Hybrid-M and L."""

_medium = partial(mobilenet_v4, MEDIUM, act=relu)
_large = partial(mobilenet_v4, LARGE, 24, act=gelu)

NETWORKS: Networks = {
    "Qin et al. 2024 (MobileNetV4)": {
        "mobilenetv4_hybrid_medium_075": _medium(width=0.75),
        "mobilenetv4_hybrid_medium": _medium(),
        "mobilenetv4_hybrid_large_075": _large(width=0.75),
        "mobilenetv4_hybrid_large": _large(),
    },
}
