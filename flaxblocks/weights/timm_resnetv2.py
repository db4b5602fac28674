"""timm's names for its pre-activation ResNets."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks.preactivation import PreActBasicBlock, PreActBottleNeck
from flaxblocks.layers import ConvNormAct, FilterResponseNorm, ScaledStandardizedConv
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import CONV, SAME, Layout
from flaxblocks.weights.naming import Child, Tensor, Vendor
from flaxblocks.weights.timm_inverted import pointwise
from flaxblocks.weights.torchvision import conv_norm

GAIN = Layout(lambda a: a[:, None, None, None], lambda a: a[:, 0, 0, 0])  # (c,) <-> (c, 1, 1, 1)


def _scaled_conv(conv: ScaledStandardizedConv) -> Iterator[Tensor]:
    yield Tensor("weight", conv.kernel, CONV)
    yield Tensor("bias", conv.bias, SAME)
    yield Tensor("gain", conv.gain, GAIN)


def _filter_response_norm(norm: FilterResponseNorm) -> Iterator[Tensor]:
    yield Tensor("weight", norm.scale, SAME)
    yield Tensor("bias", norm.bias, SAME)
    yield Tensor("tau", norm.threshold, SAME)


def _units(*units: ConvNormAct) -> Iterator[Child]:
    """Name each convolution with the normalization after it; the block's own is the first."""
    for number, unit in enumerate(units, 1):
        yield Child("", unit, conv_norm(f"conv{number}", f"norm{number + 1}"))


def _shortcut_and_norm(block: PreActBasicBlock | PreActBottleNeck) -> Iterator[Child]:
    shortcut: Any = block.shortcut
    yield Child("downsample.conv", None if shortcut is None else shortcut.conv)
    yield Child("norm1", block.norm)


def _basic_block(block: PreActBasicBlock) -> Iterator[Child]:
    yield from _shortcut_and_norm(block)
    yield from _units(block.first, block.second)


def _bottleneck(block: PreActBottleNeck) -> Iterator[Child]:
    yield from _shortcut_and_norm(block)
    yield from _units(block.reduce, block.spatial, block.expand)


def _resnetv2(model: Backbone) -> Iterator[Child]:
    layers: Any = model.stem.layers
    for number, unit in enumerate(layers, 1):
        place = number if len(layers) > 1 else ""
        yield Child("stem", unit, conv_norm(f"conv{place}", f"norm{place}"))
    for number, stage in enumerate(model.stages):
        for place, block in enumerate(stage.blocks):
            yield Child(f"stages.{number}.blocks.{place}", block)
    yield Child("norm", model.head.neck)
    yield Child("head.fc", model.head.classifier, pointwise)


RESNET_V2: Vendor = {
    FilterResponseNorm: _filter_response_norm,
    ScaledStandardizedConv: _scaled_conv,
    PreActBasicBlock: _basic_block,
    PreActBottleNeck: _bottleneck,
    "resnetv2": _resnetv2,
}
