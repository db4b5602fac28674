"""torchvision's and timm's names for networks without residual branches."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks.dense import DenseLayer, Transition
from flaxblocks.blocks.fire import Fire
from flaxblocks.blocks.shuffle import ShuffleUnit
from flaxblocks.layers.norm_act import NormAct
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Vendor
from flaxblocks.weights.torchvision import conv_norm, flat


def _convolutions(model: Backbone) -> Iterator[Child]:
    """Name convolutions and norms by their places in one `Sequential`, pools included."""
    place = 0
    stages: list[Any] = [model.stem, *(block for stage in model.stages for block in stage.blocks)]
    for stage in stages:
        yield from flat("features", stage.layers, place)
        place += sum(2 if unit.norm is None else 3 for unit in stage.layers) + 1


def _vgg(model: Backbone) -> Iterator[Child]:
    """Name the layers, those of the head by their places among activations and dropouts."""
    yield from _convolutions(model)
    head: Any = model.head
    place = 0
    for drops, layer in zip(head.drops, [*head.hidden, head.classifier], strict=True):
        place += drops
        yield Child(f"classifier.{place}", layer)
        place += 2


def _timms_vgg(model: Backbone) -> Iterator[Child]:
    yield from _convolutions(model)
    head: Any = model.head
    yield Child("pre_logits.fc1", head.first)
    yield Child("pre_logits.fc2", head.second)
    yield Child("head.fc", head.classifier)


def _fire(block: Fire) -> Iterator[Child]:
    yield Child("squeeze", block.squeeze.conv)
    yield Child("expand1x1", block.expand_1.conv)
    yield Child("expand3x3", block.expand_3.conv)


def _squeezenet(model: Backbone) -> Iterator[Child]:
    """Name the blocks by their places in one `Sequential`, stem and pools included."""
    yield from flat("features", model.stem.layers)
    place = 2
    for stage in model.stages:
        place += 1
        for block in stage.blocks:
            yield Child(f"features.{place}", block)
            place += 1
    yield Child("classifier.1", model.head.classifier)


def _dense_layer(layer: DenseLayer) -> Iterator[Child]:
    for number, unit in enumerate((layer.reduce, layer.spatial), 1):
        yield Child(f"norm{number}", unit.norm)
        yield Child(f"conv{number}", unit.conv)


def _transition(transition: Transition) -> Iterator[Child]:
    yield Child("norm", transition.norm)
    yield Child("conv", transition.conv)


def _norm_act(neck: NormAct) -> Iterator[Child]:
    yield Child("", neck.norm)


def _densenet(model: Backbone) -> Iterator[Child]:
    for number, unit in enumerate(model.stem.layers):
        yield Child("features", unit, conv_norm(f"conv{number}", f"norm{number}"))
    for number, stage in enumerate(model.stages, 1):
        layers = list(stage.blocks)
        if isinstance(layers[0], Transition):
            yield Child(f"features.transition{number - 1}", layers.pop(0))
        for place, layer in enumerate(layers, 1):
            yield Child(f"features.denseblock{number}.denselayer{place}", layer)
    yield Child("features.norm5", model.head.neck)
    yield Child("classifier", model.head.classifier)


def _shuffle_unit(unit: ShuffleUnit) -> Iterator[Child]:
    yield from flat("branch1", [unit.filter, unit.pointwise])
    yield from flat("branch2", [unit.reduce, unit.depthwise, unit.expand])


def _shufflenet_v2(model: Backbone) -> Iterator[Child]:
    yield Child("conv1", model.stem.layers[0])
    for number, stage in enumerate(model.stages, 2):
        for place, block in enumerate(stage.blocks):
            yield Child(f"stage{number}.{place}", block)
    yield Child("conv5", model.head.conv)
    yield Child("fc", model.head.classifier)


TIMMS_PLAIN: Vendor = {
    DenseLayer: _dense_layer,
    Transition: _transition,
    NormAct: _norm_act,
    "densenet": _densenet,
    "conv_vgg": _timms_vgg,
}
"""The names that timm took over, and those of its own."""

PLAIN: Vendor = {
    **TIMMS_PLAIN,
    "vgg": _vgg,
    Fire: _fire,
    "squeezenet": _squeezenet,
    ShuffleUnit: _shuffle_unit,
    "shufflenet_v2": _shufflenet_v2,
}
