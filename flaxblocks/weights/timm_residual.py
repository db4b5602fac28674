"""timm's names for what its resnet.py, regnet.py and ConvNeXts make of our blocks."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks import BasicBlock, BottleNeck, ConvNeXtBlock, NormConv
from flaxblocks.blocks.multi_scale import MultiScale
from flaxblocks.blocks.norm_first import NormFirstBottleNeck
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import InceptionConv, SqueezeExcite
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.response_norm import GlobalResponseNorm
from flaxblocks.layers.scale_norm import ScaleNorm
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import SAME, Layout
from flaxblocks.weights.naming import Child, Tensor, Vendor
from flaxblocks.weights.torchvision import (
    conv_norm,
    flat,
    norm_conv,
    numbered_pairs,
    squeeze_excite,
)

OVER_CHANNELS = Layout(lambda a: a[None, None], lambda a: a[0, 0])  # (k,) <-> (1, 1, k)


def _channel_attention(gate: EfficientChannelAttention) -> Iterator[Tensor]:
    yield Tensor("conv.weight", gate.kernel, OVER_CHANNELS)


def _basic_block(block: BasicBlock) -> Iterator[Child]:
    yield from numbered_pairs(block.first, block.second)
    yield from _gate_and_shortcut(block)


def _bottleneck(block: BottleNeck) -> Iterator[Child]:
    spatial: Any = block.spatial
    if isinstance(spatial, MultiScale):
        yield Child("", block.reduce, conv_norm("conv1", "bn1"))
        yield from (Child(f"convs.{i}", unit.conv) for i, unit in enumerate(spatial.units))
        yield from (Child(f"bns.{i}", unit.norm) for i, unit in enumerate(spatial.units))
        yield Child("", block.expand, conv_norm("conv3", "bn3"))
    else:
        yield from numbered_pairs(block.reduce, spatial, block.expand)
    yield from _gate_and_shortcut(block)


def _gate_and_shortcut(block: BasicBlock | BottleNeck) -> Iterator[Child]:
    """Name the two; a shortcut's pool has a place of its own."""
    yield Child("se", block.se)
    first = 1 if isinstance(block.shortcut, PooledProjection) else 0
    yield Child("downsample", block.shortcut, conv_norm(f"{first}", f"{first + 1}"))


def _resnet(model: Backbone) -> Iterator[Child]:
    units = list(model.stem.layers)
    in_place_of_pool = units.pop() if model.stem.pool is None else None
    *before, last = units
    yield from flat("conv1", before)
    yield Child("", last, conv_norm(f"conv1.{3 * len(before)}" if before else "conv1", "bn1"))
    yield Child("maxpool", in_place_of_pool, conv_norm("0", "1"))
    for number, stage in enumerate(model.stages, 1):
        for place, block in enumerate(stage.blocks):
            yield Child(f"layer{number}.{place}", block)
    yield Child("fc", model.head.classifier)


# RegNet


def _regnet_block(block: BottleNeck) -> Iterator[Child]:
    yield Child("conv1", block.reduce)
    yield Child("conv2", block.spatial)
    yield Child("se", block.spatial_se)
    yield Child("conv3", block.expand)
    yield Child(_place_after_pool("downsample", block.shortcut), block.shortcut)


def _norm_first(block: NormFirstBottleNeck) -> Iterator[Child]:
    yield Child("norm1", block.first.norm)
    yield Child("", block.reduce, conv_norm("conv1", "norm2"))
    yield Child("conv2", block.spatial)
    yield Child("se", block.spatial_se)
    yield Child("norm3", block.expand.norm)
    yield Child("conv3", block.expand.conv)
    place = _place_after_pool("downsample", block.shortcut)
    yield Child(place, block.shortcut, conv_norm("", ""))


def _place_after_pool(prefix: str, shortcut: object) -> str:
    return f"{prefix}.1" if isinstance(shortcut, PooledProjection) else prefix


def _regnet(model: Backbone) -> Iterator[Child]:
    stem: Any = model.stem.layers[0]
    yield Child("stem", stem, None if stem.norm else conv_norm("", ""))
    for number, stage in enumerate(model.stages, 1):
        for place, block in enumerate(stage.blocks, 1):
            naming = _regnet_block if isinstance(block, BottleNeck) else None
            yield Child(f"s{number}.b{place}", block, naming)
    yield Child("final_conv", model.head.conv)
    yield Child("head.fc", model.head.classifier)


# ConvNeXt


def _scale_norm(norm: ScaleNorm) -> Iterator[Tensor]:
    yield Tensor("weight", norm.scale, SAME)


def _response_norm(norm: GlobalResponseNorm) -> Iterator[Tensor]:
    yield Tensor("weight", norm.scale, SAME)
    yield Tensor("bias", norm.bias, SAME)


def _depthwise_name(conv: object) -> str:
    return "token_mixer" if isinstance(conv, InceptionConv) else "conv_dw"


def _inception_conv(conv: InceptionConv) -> Iterator[Child]:
    yield Child("dwconv_hw", conv.square)
    yield Child("dwconv_w", conv.wide)
    yield Child("dwconv_h", conv.tall)


def _convnext_block(block: ConvNeXtBlock) -> Iterator[Child | Tensor]:
    yield Tensor("gamma", block.layer_scale, SAME)
    yield Child(_depthwise_name(block.depthwise), block.depthwise)
    yield Child("norm", block.norm)
    yield Child("mlp.fc1", block.expand)
    yield Child("mlp.grn", block.response_norm)
    yield Child("mlp.fc2", block.project)


def _convnext(model: Backbone) -> Iterator[Child]:
    """Name the parts; a stem of two convolutions has the second before the first stage."""
    second: Any = model.stages[0].downsample
    yield from flat("stem", [*model.stem.layers, second])
    for number, stage in enumerate(model.stages):
        if number > 0:
            yield Child(f"stages.{number}.downsample", stage.downsample)
        for place, block in enumerate(stage.blocks):
            yield Child(f"stages.{number}.blocks.{place}", block)
    yield Child("norm_pre", model.head.neck)
    yield Child("head.norm", model.head.norm)
    yield Child("head.pre_logits.fc", model.head.hidden)
    yield Child("head.fc", model.head.classifier)


def _inception_next(model: Backbone) -> Iterator[Child]:
    yield Child("stem", model.stem.layers[0], conv_norm("0", "1"))
    for number, stage in enumerate(model.stages):
        yield Child(f"stages.{number}.downsample", stage.downsample)
        for place, block in enumerate(stage.blocks):
            yield Child(f"stages.{number}.blocks.{place}", block)
    yield Child("head.fc1", model.head.hidden)
    yield Child("head.norm", model.head.hidden_norm)
    yield Child("head.fc2", model.head.classifier)


RESIDUAL: Vendor = {
    InceptionConv: _inception_conv,
    "inception_next": _inception_next,
    ScaleNorm: _scale_norm,
    GlobalResponseNorm: _response_norm,
    ConvNeXtBlock: _convnext_block,
    NormConv: norm_conv,
    NormFirstBottleNeck: _norm_first,
    "convnext": _convnext,
    SqueezeExcite: squeeze_excite,
    EfficientChannelAttention: _channel_attention,
    BasicBlock: _basic_block,
    BottleNeck: _bottleneck,
    "resnet": _resnet,
    "regnet": _regnet,
}
