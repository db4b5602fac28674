"""torchvision's names for GoogLeNet and InceptionV3."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks.inception import Branches, units_of
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Naming, Vendor
from flaxblocks.weights.torchvision import conv_norm

unit = conv_norm("conv", "bn")


def _branches(block: Branches) -> Iterator[Child]:
    for name, part in units_of(block).items():
        yield Child(name, part, unit)


def _with_dots(block: Branches) -> Iterator[Child]:
    for name, part in units_of(block).items():
        yield Child(name.replace("_", "."), part, unit)


def _blocks(model: Backbone, names: str, naming: Naming) -> Iterator[Child]:
    """Name the blocks with several branches; the units of others are the network's own."""
    remaining = iter(names.split())
    for stage in model.stages:
        for block in stage.blocks:
            parts: Any = block
            if len(parts.branches) == 1:
                yield Child("", block)
            else:
                yield Child(next(remaining), block, naming)


def _googlenet(model: Backbone) -> Iterator[Child]:
    yield Child("conv1", model.stem.layers[0], unit)
    names = " ".join(f"inception{name}" for name in ("3a 3b 4a 4b 4c 4d 4e 5a 5b").split())
    yield from _blocks(model, names, _with_dots)
    heads: Any = model.auxiliary
    for number, head in enumerate(heads, 1):
        yield Child(f"aux{number}.conv", head.conv, unit)
        yield Child(f"aux{number}.fc1", head.hidden[0])
        yield Child(f"aux{number}.fc2", head.classifier)
    yield Child("fc", model.head.classifier)


def _inception_v3(model: Backbone) -> Iterator[Child]:
    for name, layer in zip(("1a", "2a"), model.stem.layers, strict=True):
        yield Child(f"Conv2d_{name}_3x3", layer, unit)
    names = " ".join(f"Mixed_{name}" for name in "5b 5c 5d 6a 6b 6c 6d 6e 7a 7b 7c".split())
    blocks = list(_blocks(model, names, _branches))
    before = next(i for i, child in enumerate(blocks) if child.prefix == "Mixed_7a")
    yield from blocks[:before]
    for head in model.auxiliary:
        yield Child("AuxLogits.conv0", head.conv, unit)
        yield Child("AuxLogits.conv1", head.neck, unit)
        yield Child("AuxLogits.fc", head.classifier)
    yield from blocks[before:]
    yield Child("fc", model.head.classifier)


INCEPTION: Vendor = {
    Branches: _branches,
    "googlenet": _googlenet,
    "inception_v3": _inception_v3,
}
