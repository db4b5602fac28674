"""timm's names for what its starnet.py makes of our blocks."""

from collections.abc import Iterator

from flaxblocks.blocks import StarBlock
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Vendor


def _block(block: StarBlock) -> Iterator[Child]:
    yield Child("dwconv", block.depthwise)
    yield Child("f1", block.first)
    yield Child("f2", block.second)
    yield Child("g", block.project)
    yield Child("dwconv2", block.spread)


def _starnet(model: Backbone) -> Iterator[Child]:
    yield Child("stem.0", model.stem.layers[0])
    for number, stage in enumerate(model.stages):
        for place, part in enumerate([stage.downsample, *stage.blocks]):
            yield Child(f"stages.{number}.{place}", part)
    yield Child("norm", model.head.neck)
    yield Child("head", model.head.classifier)


STARNET: Vendor = {StarBlock: _block, "starnet": _starnet}
