"""timm's names for what its efficientnet.py and mobilenetv3.py make of our blocks."""

from collections.abc import Iterator

from flaxblocks import models
from flaxblocks.blocks import FusedMBConv, MBConv
from flaxblocks.layers import SqueezeExcite
from flaxblocks.weights.naming import Child, Vendor
from flaxblocks.weights.torchvision import conv_norm


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


def _efficientnet(model: models.Backbone) -> Iterator[Child]:
    yield Child("", model.stem.layers[0], conv_norm("conv_stem", "bn1"))
    for number, stage in enumerate(model.stages):
        for place, block in enumerate(stage.blocks):
            yield Child(f"blocks.{number}.{place}", block)
    yield Child("", model.head.conv, conv_norm("conv_head", "bn2"))
    yield Child("classifier", model.head.classifier)


INVERTED: Vendor = {
    MBConv: _mbconv,
    FusedMBConv: _fused_mbconv,
    models.EfficientNet: _efficientnet,
}
