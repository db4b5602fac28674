"""torchvision's parameter names: one function for each class of block and for each family.

A class that stands in several families (`BottleNeck`, `MBConv`) is named by the family where
torchvision's names differ; on its own it has the names of torchvision's class of that name.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, count
from typing import Any

from flaxblocks.blocks import (
    BasicBlock,
    BottleNeck,
    ConvNeXtBlock,
    FusedMBConv,
    MBConv,
    NormConv,
)
from flaxblocks.blocks.cond_mbconv import CondUnit
from flaxblocks.layers import ConvNormAct, SqueezeExcite
from flaxblocks.models import Backbone, Stage
from flaxblocks.weights.entries import Layout
from flaxblocks.weights.naming import Child, Naming, Tensor, Vendor

PER_CHANNEL = Layout(lambda a: a[:, None, None], lambda a: a[:, 0, 0])  # (c,) <-> (c, 1, 1)


def conv_norm(conv: str, norm: str) -> Naming:
    """Return the naming of a `ConvNormAct` whose two layers have these names."""

    def naming(unit: ConvNormAct | CondUnit) -> Iterator[Child]:
        yield Child(conv, unit.conv)
        yield Child(norm, unit.norm)

    return naming


def numbered_pairs(*units: Any) -> Iterator[Child]:
    """Name units ``conv1, bn1, conv2, bn2`` and so on, as ResNets do; others by their class."""
    for number, unit in enumerate(units, 1):
        pair = conv_norm(f"conv{number}", f"bn{number}")
        yield Child("", unit, pair if isinstance(unit, ConvNormAct) else None)


def flat(prefix: str, units: Iterable[ConvNormAct | None], first: int = 0) -> Iterator[Child]:
    """Name units by the places of their layers in one `Sequential`, activations included."""
    place = count(first)
    for unit in (unit for unit in units if unit is not None):
        conv = next(place)
        norm = conv if unit.norm is None else next(place)
        yield Child(prefix, unit, conv_norm(f"{conv}", f"{norm}"))
        if unit.act is not None:
            next(place)


def _blocks(stages: Iterable[Stage]) -> Iterator[Any]:
    return chain.from_iterable(stage.blocks for stage in stages)


def squeeze_excite(gate: SqueezeExcite) -> Iterator[Child]:
    """Name the two convolutions, which timm calls the same."""
    yield Child("fc1", gate.reduce)
    yield Child("fc2", gate.expand)


# ResNet


def _basic_block(block: BasicBlock) -> Iterator[Child]:
    yield from numbered_pairs(block.first, block.second)
    yield Child("downsample", block.shortcut)


def _bottleneck(block: BottleNeck) -> Iterator[Child]:
    yield from numbered_pairs(block.reduce, block.spatial, block.expand)
    yield Child("downsample", block.shortcut)


def resnet_trunk(model: Backbone) -> Iterator[Child]:
    """Name a ResNet's stem and blocks."""
    yield from numbered_pairs(model.stem.layers[0])
    for number, stage in enumerate(model.stages, 1):
        for place, block in enumerate(stage.blocks):
            yield Child(f"layer{number}.{place}", block)


def _resnet(model: Backbone) -> Iterator[Child]:
    yield from resnet_trunk(model)
    yield Child("fc", model.head.classifier)


# The mobile networks and EfficientNet


def _mbconv(block: MBConv | FusedMBConv) -> Iterator[Child]:
    depthwise = block.depthwise if isinstance(block, MBConv) else None
    parts = (block.expand, depthwise, block.se, block.project)
    for place, part in enumerate(part for part in parts if part is not None):
        yield Child(f"block.{place}", part)


def _mobilenet_v2_block(block: MBConv) -> Iterator[Child]:
    wide = [unit for unit in (block.expand, block.depthwise) if unit is not None]
    for place, unit in enumerate(wide):
        yield Child(f"conv.{place}", unit)
    yield from flat("conv", [block.project], len(wide))


def _features(model: Backbone, naming: Naming) -> Iterator[Child]:
    """Name stem, blocks and the head's convolution by their places in one `Sequential`."""
    blocks = list(_blocks(model.stages))
    yield Child("features.0", model.stem.layers[0])
    for place, block in enumerate(blocks, 1):
        yield Child(f"features.{place}", block, naming)
    yield Child(f"features.{len(blocks) + 1}", model.head.conv)


def _mobilenet_v2(model: Backbone) -> Iterator[Child]:
    yield from _features(model, _mobilenet_v2_block)
    yield Child("classifier.1", model.head.classifier)


def _mobilenet_v3(model: Backbone) -> Iterator[Child]:
    yield from _features(model, _mbconv)
    yield Child("classifier.0", model.head.hidden)
    yield Child("classifier.3", model.head.classifier)


def _mnasnet_block(block: MBConv) -> Iterator[Child]:
    yield from flat("layers", [block.expand, block.depthwise, block.project])


def _mnasnet(model: Backbone) -> Iterator[Child]:
    """Name the parts; stem and first block are flat, as is the head's convolution."""
    (separable,), *stacks = (stage.blocks for stage in model.stages)
    yield from flat("layers", [*model.stem.layers, separable.depthwise, separable.project])
    for place, stack in enumerate(stacks, 8):
        for index, block in enumerate(stack):
            yield Child(f"layers.{place}.{index}", block, _mnasnet_block)
    yield from flat("layers", [model.head.conv], 8 + len(stacks))
    yield Child("classifier.1", model.head.classifier)


def _efficientnet(model: Backbone) -> Iterator[Child]:
    yield Child("features.0", model.stem.layers[0])
    for number, stage in enumerate(model.stages, 1):
        for place, block in enumerate(stage.blocks):
            yield Child(f"features.{number}.{place}", block)
    yield Child(f"features.{len(model.stages) + 1}", model.head.conv)
    yield Child("classifier.1", model.head.classifier)


# RegNet


def _regnet_block(block: BottleNeck) -> Iterator[Child]:
    yield Child("proj", block.shortcut)
    yield Child("f.a", block.reduce)
    yield Child("f.b", block.spatial)
    yield Child("f.se", block.spatial_se)
    yield Child("f.c", block.expand)


def _regnet(model: Backbone) -> Iterator[Child]:
    yield Child("stem", model.stem.layers[0])
    for number, stage in enumerate(model.stages, 1):
        for place, block in enumerate(stage.blocks):
            prefix = f"trunk_output.block{number}.block{number}-{place}"
            yield Child(prefix, block, _regnet_block)
    yield Child("fc", model.head.classifier)


# ConvNeXt


def _convnext_block(block: ConvNeXtBlock) -> Iterator[Child | Tensor]:
    yield Tensor("layer_scale", block.layer_scale, PER_CHANNEL)
    yield Child("block.0", block.depthwise)
    yield Child("block.2", block.norm)
    yield Child("block.3", block.expand)
    yield Child("block.5", block.project)


def norm_conv(downsample: NormConv) -> Iterator[Child]:
    """Name the two by their places in a `Sequential`."""
    yield Child("0", downsample.norm)
    yield Child("1", downsample.conv)


def _convnext(model: Backbone) -> Iterator[Child]:
    yield Child("features.0", model.stem.layers[0])
    for number, stage in enumerate(model.stages):
        yield Child(f"features.{2 * number}", stage.downsample)
        for place, block in enumerate(stage.blocks):
            yield Child(f"features.{2 * number + 1}.{place}", block)
    yield Child("classifier.0", model.head.norm)
    yield Child("classifier.2", model.head.classifier)


TORCHVISION: Vendor = {
    ConvNormAct: conv_norm("0", "1"),
    SqueezeExcite: squeeze_excite,
    BasicBlock: _basic_block,
    BottleNeck: _bottleneck,
    MBConv: _mbconv,
    FusedMBConv: _mbconv,
    ConvNeXtBlock: _convnext_block,
    NormConv: norm_conv,
    "resnet": _resnet,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3": _mobilenet_v3,
    "mnasnet": _mnasnet,
    "efficientnet": _efficientnet,
    "regnet": _regnet,
    "convnext": _convnext,
}
