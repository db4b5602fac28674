"""timm's names for what its efficientnet.py and mobilenetv3.py make of our blocks."""

from collections.abc import Iterator

from flaxblocks.blocks import FusedMBConv, MBConv
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.layers import Linear, SqueezeExcite
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import SAME, Layout
from flaxblocks.weights.naming import Child, Tensor, Vendor
from flaxblocks.weights.torchvision import conv_norm

POINTWISE = Layout(lambda a: a.T[:, :, None, None], lambda a: a[:, :, 0, 0].T)


def _squeeze_excite(gate: SqueezeExcite) -> Iterator[Child]:
    yield Child("conv_reduce", gate.reduce)
    yield Child("conv_expand", gate.expand)


def _mbconv(block: MBConv) -> Iterator[Child]:
    """Name an `InvertedResidual`, or a `DepthwiseSeparableConv` where nothing is expanded."""
    if block.expand is None:
        yield Child("", block.depthwise, conv_norm("conv_dw", "bn1"))
        yield Child("se", block.se, _squeeze_excite)
        yield Child("", block.project, conv_norm("conv_pw", "bn2"))
    else:
        yield Child("", block.expand, conv_norm("conv_pw", "bn1"))
        yield Child("", block.depthwise, conv_norm("conv_dw", "bn2"))
        yield Child("se", block.se, _squeeze_excite)
        yield Child("", block.project, conv_norm("conv_pwl", "bn3"))


def _fused_mbconv(block: FusedMBConv) -> Iterator[Child]:
    """Name an `EdgeResidual`, or a `ConvBnAct` where nothing is projected."""
    if block.project is None:
        yield Child("", block.expand, conv_norm("conv", "bn1"))
    else:
        yield Child("", block.expand, conv_norm("conv_exp", "bn1"))
        yield Child("se", block.se, _squeeze_excite)
        yield Child("", block.project, conv_norm("conv_pwl", "bn2"))


def _universal(block: UniversalInvertedBottleneck) -> Iterator[Child]:
    yield Child("dw_start", block.start)
    yield Child("pw_exp", block.expand)
    yield Child("dw_mid", block.depthwise)
    yield Child("pw_proj", block.project)


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


def _torchvisions_mobilenet_v3(model: Backbone) -> Iterator[Child]:
    """Name a network that has timm's last stage and its linear convolution in the head."""
    yield from _trunk(model)
    yield Child(f"blocks.{len(model.stages)}.0", model.head.conv, conv_norm("conv", "bn1"))
    yield Child("conv_head", model.head.hidden, _pointwise)
    yield Child("classifier", model.head.classifier)


def _pointwise(layer: Linear) -> Iterator[Tensor]:
    """Name a linear layer that timm makes as a convolution of one pixel."""
    yield Tensor("weight", layer.kernel, POINTWISE)
    yield Tensor("bias", layer.bias, SAME)


INVERTED: Vendor = {
    MBConv: _mbconv,
    FusedMBConv: _fused_mbconv,
    UniversalInvertedBottleneck: _universal,
    "mobile": _inverted,
    "efficientnet": _inverted,
    "mobilenet_v2": _inverted,
    "mnasnet": _inverted,
    "mobilenet_v3": _torchvisions_mobilenet_v3,
}
