"""timm's names for what its efficientnet.py and mobilenetv3.py make of our blocks."""

from collections.abc import Iterator

import numpy as np

from flaxblocks.blocks import CondMBConv, FusedMBConv, MBConv
from flaxblocks.blocks.mobile_attention import MobileAttention
from flaxblocks.blocks.space_to_depth import SpaceToDepth
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.layers import CondConv, EvoNorm, Linear, MixedConv, SqueezeExcite
from flaxblocks.layers.global_context import GlobalContext
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import EXPERTS, SAME, Layout
from flaxblocks.weights.naming import Child, Tensor, Vendor
from flaxblocks.weights.torchvision import conv_norm

POINTWISE = Layout(lambda a: a.T[:, :, None, None], lambda a: a[:, :, 0, 0].T)


def gate_convolutions(gate: SqueezeExcite | GlobalContext) -> Iterator[Child]:
    """Name the convolutions of a gate."""
    if isinstance(gate, GlobalContext):
        part = "mlp_add" if gate.gate is None else "mlp_scale"
        yield Child("conv_attn", gate.attend)
        yield Child(f"{part}.fc1", gate.reduce)
        yield Child(f"{part}.norm", gate.norm)
        yield Child(f"{part}.fc2", gate.expand)
        return
    yield Child("conv_reduce", gate.reduce)
    yield Child("conv_expand", gate.expand)


def _mbconv(block: MBConv) -> Iterator[Child]:
    """Name an `InvertedResidual`, or a `DepthwiseSeparableConv` where nothing is expanded."""
    if block.expand is None:
        yield Child("", block.depthwise, conv_norm("conv_dw", "bn1"))
        yield Child("se", block.se, gate_convolutions)
        yield Child("", block.project, conv_norm("conv_pw", "bn2"))
    else:
        yield Child("", block.expand, conv_norm("conv_pw", "bn1"))
        yield Child("", block.depthwise, conv_norm("conv_dw", "bn2"))
        yield Child("se", block.se, gate_convolutions)
        yield Child("", block.project, conv_norm("conv_pwl", "bn3"))


def _space_to_depth(block: SpaceToDepth) -> Iterator[Child]:
    yield Child("", block.expand, conv_norm("conv_s2d", "bn_s2d"))
    yield Child("", block.depthwise, conv_norm("conv_dw", "bn1"))
    yield Child("se", block.se, gate_convolutions)
    yield Child("", block.project, conv_norm("conv_pw", "bn2"))


def _fused_mbconv(block: FusedMBConv) -> Iterator[Child]:
    """Name an `EdgeResidual`, or a `ConvBnAct` where nothing is projected."""
    if block.project is None:
        yield Child("", block.expand, conv_norm("conv", "bn1"))
    else:
        yield Child("", block.expand, conv_norm("conv_exp", "bn1"))
        yield Child("se", block.se, gate_convolutions)
        yield Child("", block.project, conv_norm("conv_pwl", "bn2"))


def _universal(block: UniversalInvertedBottleneck) -> Iterator[Child | Tensor]:
    yield Child("dw_start", block.start)
    yield Child("pw_exp", block.expand)
    yield Child("dw_mid", block.depthwise)
    yield Child("pw_proj", block.project)
    yield Tensor("layer_scale.gamma", block.layer_scale, SAME)


def _cond_mbconv(block: CondMBConv) -> Iterator[Child]:
    yield Child("", block.expand, conv_norm("conv_pw", "bn1"))
    yield Child("", block.depthwise, conv_norm("conv_dw", "bn2"))
    yield Child("se", block.se, gate_convolutions)
    yield Child("", block.project, conv_norm("conv_pwl", "bn3"))
    yield Child("routing_fn", block.routing)


def _cond_conv(layer: CondConv) -> Iterator[Tensor]:
    """Name the experts' kernels, of which timm makes a row each."""
    experts, *window, inputs, outputs = layer.kernel.shape
    stacked = (experts, outputs, inputs, *window)

    def to_torch(array: np.ndarray) -> np.ndarray:
        return EXPERTS.to_torch(array).reshape(experts, -1)

    def from_torch(array: np.ndarray) -> np.ndarray:
        return EXPERTS.from_torch(array.reshape(stacked))

    yield Tensor("weight", layer.kernel, Layout(to_torch, from_torch))


def _attention(block: MobileAttention) -> Iterator[Child | Tensor]:
    part = block.attention
    yield Child("norm", block.norm)
    yield Child("attn.query.proj", part.query)
    yield Child("attn.key", part.shrink_keys, conv_norm("down_conv", "norm"))
    yield Child("attn.key.proj", part.key)
    yield Child("attn.value", part.shrink_values, conv_norm("down_conv", "norm"))
    yield Child("attn.value.proj", part.value)
    yield Child("attn.output.proj", part.project)
    yield Tensor("layer_scale.gamma", block.layer_scale, SAME)


def _evo_norm(norm: EvoNorm) -> Iterator[Tensor]:
    yield Tensor("weight", norm.scale, SAME)
    yield Tensor("bias", norm.bias, SAME)
    yield Tensor("v", norm.gate, SAME)


def _trunk(model: Backbone) -> Iterator[Child]:
    yield Child("", model.stem.layers[0], conv_norm("conv_stem", "bn1"))
    for number, stage in enumerate(model.stages):
        for place, block in enumerate(stage.blocks):
            yield Child(f"blocks.{number}.{place}", block)


def _inverted(model: Backbone) -> Iterator[Child]:
    """Name a network with one convolution in its head, before the pooling or after it."""
    yield from _trunk(model)
    yield Child("", model.head.conv, conv_norm("conv_head", "bn2"))
    yield Child("", model.head.hidden, conv_norm("conv_head", "norm_head"))
    yield Child("classifier", model.head.classifier)


def two_convolutions(model: Backbone) -> Iterator[Child]:
    """Name a network that has timm's last stage and its linear convolution in the head."""
    yield from _trunk(model)
    yield Child(f"blocks.{len(model.stages)}.0", model.head.conv, conv_norm("conv", "bn1"))
    yield Child("conv_head", model.head.hidden, pointwise)
    yield Child("classifier", model.head.classifier)


def pointwise(layer: Linear) -> Iterator[Tensor]:
    """Name a linear layer that timm makes as a convolution of one pixel."""
    yield Tensor("weight", layer.kernel, POINTWISE)
    yield Tensor("bias", layer.bias, SAME)


def _mixed_conv(layer: MixedConv) -> Iterator[Child]:
    yield from (Child(f"{place}", part) for place, part in enumerate(layer.convs))


INVERTED: Vendor = {
    GlobalContext: gate_convolutions,
    MixedConv: _mixed_conv,
    CondConv: _cond_conv,
    CondMBConv: _cond_mbconv,
    MobileAttention: _attention,
    EvoNorm: _evo_norm,
    SpaceToDepth: _space_to_depth,
    MBConv: _mbconv,
    FusedMBConv: _fused_mbconv,
    UniversalInvertedBottleneck: _universal,
    "mobile": _inverted,
    "efficientnet": _inverted,
    "mobilenet_v2": _inverted,
    "mnasnet": _inverted,
    "mobilenet_v3": two_convolutions,
}
