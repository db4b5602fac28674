"""timm's names for what its resnet.py, regnet.py and convnext.py make of our blocks."""

from collections.abc import Iterator

from flaxblocks import models
from flaxblocks.blocks import BasicBlock, BottleNeck
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import SqueezeExcite
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.weights.entries import Layout
from flaxblocks.weights.naming import Child, Tensor, Vendor
from flaxblocks.weights.torchvision import conv_norm, flat, numbered_pairs, squeeze_excite

OVER_CHANNELS = Layout(lambda a: a[None, None], lambda a: a[0, 0])  # (k,) <-> (1, 1, k)


def _channel_attention(gate: EfficientChannelAttention) -> Iterator[Tensor]:
    yield Tensor("conv.weight", gate.kernel, OVER_CHANNELS)


def _basic_block(block: BasicBlock) -> Iterator[Child]:
    yield from numbered_pairs(block.first, block.second)
    yield from _gate_and_shortcut(block)


def _bottleneck(block: BottleNeck) -> Iterator[Child]:
    yield from numbered_pairs(block.reduce, block.spatial, block.expand)
    yield from _gate_and_shortcut(block)


def _gate_and_shortcut(block: BasicBlock | BottleNeck) -> Iterator[Child]:
    """Name the two; a shortcut's pool has a place of its own."""
    yield Child("se", block.se)
    first = 1 if isinstance(block.shortcut, PooledProjection) else 0
    yield Child("downsample", block.shortcut, conv_norm(f"{first}", f"{first + 1}"))


def _resnet(model: models.ResNet) -> Iterator[Child]:
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


RESIDUAL: Vendor = {
    SqueezeExcite: squeeze_excite,
    EfficientChannelAttention: _channel_attention,
    BasicBlock: _basic_block,
    BottleNeck: _bottleneck,
    models.ResNet: _resnet,
}
