"""timm's names for its older SE-ResNets."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Vendor
from flaxblocks.weights.timm_residual import RESIDUAL
from flaxblocks.weights.torchvision import numbered_pairs


def _block(block: Any) -> Iterator[Child]:
    """Name the parts as timm's ResNets do, but for the gate."""
    for part in RESIDUAL[type(block)](block):
        assert isinstance(part, Child)
        yield part._replace(prefix="se_module") if part.module is block.se else part


def _senet(model: Backbone) -> Iterator[Child]:
    for unit in numbered_pairs(*model.stem.layers):
        yield unit._replace(prefix="layer0")
    for number, stage in enumerate(model.stages, 1):
        for place, block in enumerate(stage.blocks):
            yield Child(f"layer{number}.{place}", block, _block)
    yield Child("last_linear", model.head.classifier)


SENET: Vendor = {"senet": _senet}
