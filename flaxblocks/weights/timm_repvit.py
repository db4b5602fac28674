"""timm's names for what its repvit.py makes of our blocks."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks import FusedMBConv, RepConv
from flaxblocks.blocks.distilled_head import DistilledHead
from flaxblocks.blocks.repvit_downsample import RepViTDownsample
from flaxblocks.layers import ConvNormAct
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Vendor


def _unit(unit: ConvNormAct) -> Iterator[Child]:
    """Name the two layers; what `for_inference` makes of them is alone, as where timm fuses."""
    yield Child("" if unit.norm is None else "c", unit.conv)
    yield Child("bn", unit.norm)


def _spatial(block: RepConv) -> Iterator[Child]:
    if block.point is None:
        yield Child("token_mixer", block.convs[0].conv)
    else:
        yield Child("token_mixer.conv", block.convs[0], _unit)
        yield Child("token_mixer.conv1", block.point, _unit)
        yield Child("token_mixer.bn", block.final_norm)
    yield Child("se", block.se)


def _mix(block: FusedMBConv) -> Iterator[Child]:
    yield Child("conv1", block.expand, _unit)
    yield Child("conv2", block.project, _unit)


def _downsample(downsample: RepViTDownsample) -> Iterator[Child]:
    yield Child("pre_block", downsample.spatial, _spatial)
    yield Child("pre_block.channel_mixer", downsample.mix, _mix)
    yield Child("spatial_downsample", downsample.depthwise, _unit)
    yield Child("channel_downsample", downsample.pointwise, _unit)
    yield Child("ffn", downsample.mix_after, _mix)


def _head(head: DistilledHead) -> Iterator[Child]:
    if head.classifier_norm is None:
        yield Child("head", head.classifier)
        return
    yield Child("head.head.bn", head.classifier_norm)
    yield Child("head.head.l", head.classifier)
    yield Child("head.head_dist.bn", head.taught_norm)
    yield Child("head.head_dist.l", head.taught)


def _repvit(model: Backbone) -> Iterator[Child]:
    yield Child("stem.conv1", model.stem.layers[0], _unit)
    for number, stage in enumerate(model.stages):
        if number == 0:
            yield Child("stem.conv2", stage.downsample, _unit)
        else:
            yield Child(f"stages.{number}.downsample", stage.downsample)
        blocks: list[Any] = list(stage.blocks)
        for place, (spatial, mix) in enumerate(zip(blocks[::2], blocks[1::2], strict=True)):
            yield Child(f"stages.{number}.blocks.{place}", spatial, _spatial)
            yield Child(f"stages.{number}.blocks.{place}.channel_mixer", mix, _mix)
    yield Child("", model.head)


REPVIT: Vendor = {
    RepViTDownsample: _downsample,
    DistilledHead: _head,
    "repvit": _repvit,
}
