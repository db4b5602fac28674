"""timm's names for what its ghostnet.py and repghost.py make of our blocks."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks import RepConv
from flaxblocks.blocks.ghost import GhostModule
from flaxblocks.blocks.ghost_bottleneck import GhostBottleNeck
from flaxblocks.weights.naming import Child, Vendor
from flaxblocks.weights.timm_inverted import gate_convolutions, two_convolutions
from flaxblocks.weights.torchvision import conv_norm, flat

UNIT = conv_norm("conv", "bn1")


def _module(module: GhostModule) -> Iterator[Child]:
    primary: Any = module.primary
    cheap: Any = module.cheap
    if not module.keep:
        yield Child("primary_conv", primary, conv_norm("0", "1"))
        yield Child("fusion_bn.0", cheap.skip)
        merged = cheap.convs[0].norm is None
        yield Child("cheap_operation", cheap.convs[0], conv_norm("" if merged else "0", "1"))
        return
    yield from _convolution("primary_conv", "primary_rpr", primary)
    yield from _convolution("cheap_operation", "cheap_rpr", cheap)
    if module.gate is not None:
        gate: Any = module.gate
        yield from flat("short_conv", [gate.point, gate.horizontal, gate.vertical])


def _convolution(plain: str, branches: str, unit: Any) -> Iterator[Child]:
    """Name a convolution: one, several, or one that `for_inference` made of several."""
    if not isinstance(unit, RepConv):
        yield Child(plain, unit, conv_norm("0", "1"))
    elif unit.convs[0].norm is None:
        yield Child(f"{plain}.0", unit.convs[0].conv)
    else:
        yield Child(f"{branches}_skip", unit.skip)
        yield from (Child(f"{branches}_conv.{i}", c, UNIT) for i, c in enumerate(unit.convs))
        yield Child(f"{branches}_scale", unit.point, UNIT)


def _bottleneck(block: GhostBottleNeck) -> Iterator[Child]:
    depthwise: Any = block.depthwise
    several = isinstance(depthwise, RepConv)
    yield Child("ghost1", block.expand)
    if several and depthwise.convs[0].norm is not None:
        yield from _convolution("", "dw_rpr", depthwise)
    else:
        unit = depthwise.convs[0] if several else depthwise
        yield Child("", unit, conv_norm("conv_dw", "bn_dw"))
    yield Child("se", block.se, gate_convolutions)
    yield Child("ghost2", block.project)
    if block.shortcut is not None:
        shortcut: Any = block.shortcut
        yield from flat("shortcut", [shortcut.depthwise, shortcut.pointwise])


GHOST: Vendor = {
    GhostModule: _module,
    GhostBottleNeck: _bottleneck,
    "ghostnet": two_convolutions,
}
