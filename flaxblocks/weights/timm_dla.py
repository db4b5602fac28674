"""timm's names for its DLAs."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks.aggregation import AggregationTree
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Tensor, Vendor
from flaxblocks.weights.timm_inverted import pointwise
from flaxblocks.weights.timm_residual import RESIDUAL
from flaxblocks.weights.torchvision import conv_norm


def _block(block: Any) -> Iterator[Child | Tensor]:
    """Name the parts but for the shortcut, which is the tree's."""
    for part in RESIDUAL[type(block)](block):
        if not isinstance(part, Child) or part.module is not block.shortcut:
            yield part


def _tree(tree: AggregationTree) -> Iterator[Child]:
    first: Any = tree.first
    if isinstance(first, AggregationTree):
        yield Child("tree1", first)
        yield Child("tree2", tree.second)
        return
    project = None if first.shortcut is None else first.shortcut.project
    yield Child("project", project, conv_norm("0", "1"))
    yield Child("tree1", first, _block)
    yield Child("tree2", tree.second, _block)
    yield Child("root", tree.root)


def _dla(model: Backbone) -> Iterator[Child | Tensor]:
    yield Child("base_layer", model.stem.layers[0], conv_norm("0", "1"))
    for number, stage in enumerate(model.stages):
        naming = conv_norm("0", "1") if number < 2 else None
        yield Child(f"level{number}", stage.blocks[0], naming)
    yield Child("fc", model.head.classifier, pointwise)


DLA: Vendor = {AggregationTree: _tree, "dla": _dla}
