"""timm's names for its ReXNets."""

from collections.abc import Iterator
from itertools import chain

from flaxblocks.blocks.growing import GrowingBottleneck
from flaxblocks.layers.squeeze_excite import SqueezeNormExcite
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Vendor


def _gate(gate: SqueezeNormExcite) -> Iterator[Child]:
    yield Child("fc1", gate.reduce)
    yield Child("bn", gate.norm)
    yield Child("fc2", gate.expand)


def _block(block: GrowingBottleneck) -> Iterator[Child]:
    yield Child("conv_exp", block.expand)
    yield Child("conv_dw", block.depthwise)
    yield Child("se", block.se)
    yield Child("conv_pwl", block.project)


def _rexnet(model: Backbone) -> Iterator[Child]:
    blocks = list(chain.from_iterable(stage.blocks for stage in model.stages))
    yield Child("stem", model.stem.layers[0])
    for place, part in enumerate([*blocks, model.head.conv]):
        yield Child(f"features.{place}", part)
    yield Child("head.fc", model.head.classifier)


REXNET: Vendor = {
    SqueezeNormExcite: _gate,
    GrowingBottleneck: _block,
    "rexnet": _rexnet,
}
