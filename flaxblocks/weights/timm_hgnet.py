"""timm's names for its PP-HGNets."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks import Stem
from flaxblocks.blocks.branched_stem import BranchedStem
from flaxblocks.blocks.one_shot import LightUnit, OneShotAggregation
from flaxblocks.layers.affine import AffineConvNormAct
from flaxblocks.layers.effective_squeeze_excite import EffectiveSqueezeExcite
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import SAME
from flaxblocks.weights.naming import Child, Naming, Tensor, Vendor
from flaxblocks.weights.torchvision import conv_norm


def _affine(conv: str, affine: str) -> Naming:
    """Return the naming of a unit whose convolution and whose two numbers have these names."""

    def naming(unit: Any) -> Iterator[Child | Tensor]:
        inner = unit.unit if isinstance(unit, AffineConvNormAct) else unit
        yield Child("", inner, conv_norm(conv, "bn"))
        if inner is not unit:
            yield Tensor(f"{affine}.scale", unit.scale, SAME)
            yield Tensor(f"{affine}.bias", unit.bias, SAME)

    return naming


def _gate(gate: EffectiveSqueezeExcite) -> Iterator[Child]:
    yield Child("conv", gate.conv)


def _light(unit: LightUnit) -> Iterator[Child]:
    yield Child("conv1", unit.pointwise)
    yield Child("conv2", unit.depthwise)


def _block(block: OneShotAggregation) -> Iterator[Child]:
    for place, layer in enumerate(block.layers):
        yield Child(f"layers.{place}", layer)
    parts = (part for part in (block.squeeze, block.mix, block.gate) if part is not None)
    for place, part in enumerate(parts):
        yield Child(f"aggregation.{place}", part)


def _stem(stem: Stem) -> Iterator[Child]:
    for place, unit in enumerate(stem.layers):
        yield Child(f"stem.{place}", unit)


def _branched_stem(stem: BranchedStem) -> Iterator[Child]:
    yield Child("stem1", stem.shrink)
    yield Child("stem2a", stem.first)
    yield Child("stem2b", stem.second)
    yield Child("stem3", stem.mix)
    yield Child("stem4", stem.last)


def _hgnet(model: Backbone) -> Iterator[Child]:
    stem: Any = model.stem  # HGNetV1 has a plain one
    yield Child("stem", stem, _stem if isinstance(stem, Stem) else None)
    for number, stage in enumerate(model.stages):
        yield Child(f"stages.{number}.downsample", stage.downsample)
        for place, block in enumerate(stage.blocks):
            yield Child(f"stages.{number}.blocks.{place}", block)
    yield Child("head.last_conv", model.head.hidden, _affine("0", "2"))
    yield Child("head.fc", model.head.classifier)


HGNET: Vendor = {
    AffineConvNormAct: _affine("conv", "lab"),
    EffectiveSqueezeExcite: _gate,
    BranchedStem: _branched_stem,
    LightUnit: _light,
    OneShotAggregation: _block,
    "hgnet": _hgnet,
}
