"""timm's names for what its metaformer.py makes of our blocks."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks import NormConv
from flaxblocks.blocks.metaformer import NormFirstResidual, Perceptron, SelfAttention
from flaxblocks.blocks.perceptron_head import PerceptronHead
from flaxblocks.layers.star_relu import StarReLU
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import SAME
from flaxblocks.weights.naming import Child, Tensor, Vendor
from flaxblocks.weights.torchvision import conv_norm


def _star_relu(act: StarReLU) -> Iterator[Tensor]:
    yield Tensor("scale", act.scale, SAME)
    yield Tensor("bias", act.bias, SAME)


def _perceptron(layer: Perceptron) -> Iterator[Child]:
    filters = layer.depthwise is not None
    names = ("pwconv1", "act1", "pwconv2") if filters else ("fc1", "act", "fc2")
    act: Any = layer.act
    yield Child(names[0], layer.expand)
    yield Child(names[1], act if isinstance(act, StarReLU) else None)
    yield Child("dwconv", layer.depthwise)
    yield Child(names[2], layer.project)


def _attention(layer: SelfAttention) -> Iterator[Child]:
    yield Child("qkv", layer.queries_keys_values)
    yield Child("proj", layer.project)


def _branch(branch: NormFirstResidual, number: int) -> Iterator[Child | Tensor]:
    layer: Any = branch.layer
    yield Child(f"norm{number}", branch.norm)
    named = isinstance(layer, Perceptron | SelfAttention)
    yield Child("token_mixer" if number == 1 else "mlp", layer if named else None)
    yield Tensor(f"layer_scale{number}.scale", branch.layer_scale, SAME)
    yield Tensor(f"res_scale{number}.scale", branch.skip_scale, SAME)


def _mixing(branch: NormFirstResidual) -> Iterator[Child | Tensor]:
    return _branch(branch, 1)


def _perceiving(branch: NormFirstResidual) -> Iterator[Child | Tensor]:
    return _branch(branch, 2)


def _downsample(downsample: NormConv) -> Iterator[Child]:
    yield Child("norm", downsample.norm)
    yield Child("conv", downsample.conv)


def _head(head: PerceptronHead) -> Iterator[Child]:
    yield Child("norm", head.norm)
    yield Child("fc.fc1", head.expand)
    yield Child("fc.norm", head.expand_norm)
    yield Child("fc.fc2", head.classifier)


def _metaformer(model: Backbone) -> Iterator[Child]:
    yield Child("stem", model.stem.layers[0], conv_norm("conv", "norm"))
    for number, stage in enumerate(model.stages):
        yield Child(f"stages.{number}.downsample", stage.downsample, _downsample)
        for place, branch in enumerate(stage.blocks):
            naming = _perceiving if place % 2 else _mixing
            yield Child(f"stages.{number}.blocks.{place // 2}", branch, naming)
    if isinstance(model.head, PerceptronHead):
        yield Child("head", model.head)
    else:
        yield Child("head.norm", model.head.norm)
        yield Child("head.fc", model.head.classifier)


METAFORMER: Vendor = {
    StarReLU: _star_relu,
    Perceptron: _perceptron,
    SelfAttention: _attention,
    PerceptronHead: _head,
    "metaformer": _metaformer,
}
