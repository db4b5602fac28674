"""timm's names for its networks without normalization."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks.norm_free import NormFreeBottleNeck
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import SAME
from flaxblocks.weights.naming import Child, Tensor, Vendor


def _block(block: NormFreeBottleNeck) -> Iterator[Child | Tensor]:
    yield Tensor("skipinit_gain", block.gain, SAME)
    shortcut: Any = block.shortcut
    yield Child("downsample.conv", None if shortcut is None else shortcut.conv)
    yield Child("conv1", block.reduce.conv)
    for name, unit in zip(("conv2", "conv2b"), block.spatial, strict=False):
        yield Child(name, unit.conv)
    yield Child("attn", block.spatial_se)
    yield Child("conv3", block.expand.conv)
    yield Child("attn_last", block.se)


def _nfnet(model: Backbone) -> Iterator[Child]:
    layers: Any = model.stem.layers
    for number, unit in enumerate(layers, 1):
        yield Child(f"stem.conv{number}" if len(layers) > 1 else "stem.conv", unit.conv)
    for number, stage in enumerate(model.stages):
        for place, block in enumerate(stage.blocks):
            yield Child(f"stages.{number}.{place}", block)
    conv: Any = model.head.conv
    yield Child("final_conv", None if conv is None else conv.conv)
    yield Child("head.fc", model.head.classifier)


NFNET: Vendor = {NormFreeBottleNeck: _block, "nfnet": _nfnet}
