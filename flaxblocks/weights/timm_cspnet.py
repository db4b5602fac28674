"""timm's names for its cross-stage partial networks and its Darknets."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks import CrossStagePartial, DarkBlock
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.models import Backbone, Stage
from flaxblocks.weights.naming import Child, Vendor


def _dark_block(block: DarkBlock) -> Iterator[Child]:
    yield Child("conv1", block.first)
    yield Child("attn", block.se)
    yield Child("conv2", block.second)


def _bottleneck(block: Any) -> Iterator[Child]:
    yield Child("conv1", block.reduce)
    yield Child("conv2", block.spatial)
    yield Child("attn2", block.spatial_se)
    yield Child("conv3", block.expand)


def _blocks(blocks: Any) -> Iterator[Child]:
    for place, block in enumerate(blocks):
        yield Child(f"blocks.{place}", block, None if isinstance(block, DarkBlock) else _bottleneck)


def _cross_stage(part: CrossStagePartial) -> Iterator[Child]:
    yield Child("conv_exp", part.expand)
    yield from _blocks(part.blocks)
    yield Child("conv_transition_b", part.mix)
    yield Child("conv_transition", part.merge)


def _stage(stage: Stage) -> Iterator[Child]:
    pools = isinstance(stage.downsample, PooledProjection)
    yield Child("conv_down.1" if pools else "conv_down", stage.downsample)
    first = stage.blocks[0]
    if isinstance(first, CrossStagePartial):
        yield Child("", first)
    else:
        yield from _blocks(stage.blocks)


def _cspnet(model: Backbone) -> Iterator[Child]:
    for number, unit in enumerate(model.stem.layers, 1):
        yield Child(f"stem.conv{number}", unit)
    for number, stage in enumerate(model.stages):
        yield Child(f"stages.{number}", stage, _stage)
    yield Child("head.fc", model.head.classifier)


CSPNET: Vendor = {
    DarkBlock: _dark_block,
    CrossStagePartial: _cross_stage,
    "cspnet": _cspnet,
}
