"""timm's names for what its byobnet.py makes of blocks of several kinds."""

from collections.abc import Iterator
from typing import Any

from flaxblocks.blocks import BasicBlock, BottleNeck, Head
from flaxblocks.blocks.attention_head import AttentionHead
from flaxblocks.blocks.conv_pair import ConvPair
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import ConvNormAct
from flaxblocks.layers.attention_pool import AttentionPool
from flaxblocks.layers.bilinear_attention import BilinearAttention
from flaxblocks.models import Backbone
from flaxblocks.weights.entries import SAME
from flaxblocks.weights.naming import Child, Tensor, Vendor


def _block(block: BasicBlock | BottleNeck) -> Iterator[Child]:
    after_pool = isinstance(block.shortcut, PooledProjection)
    yield Child("shortcut.conv" if after_pool else "shortcut", block.shortcut)
    yield from _basic(block) if isinstance(block, BasicBlock) else _bottleneck(block)


def _basic(block: BasicBlock) -> Iterator[Child]:
    yield Child(f"conv1_{_size(block.first)}", block.first)
    yield Child("attn", block.hidden_se)
    yield Child(f"conv2_{_size(block.second)}", block.second)
    yield Child("attn_last", block.se)


def _size(unit: ConvNormAct) -> str:
    """Return what timm calls the size of a kernel."""
    conv: Any = unit.conv
    return "1x1" if tuple(conv.kernel_size) == (1, 1) else "kxk"


def _bottleneck(block: BottleNeck) -> Iterator[Child]:
    yield Child("conv1_1x1", block.reduce)
    spatial: Any = block.spatial
    if isinstance(spatial, ConvPair):
        yield Child("conv2_kxk", spatial.first)
        yield Child("conv2b_kxk", spatial.second)
    else:
        yield Child("conv2_kxk", spatial)
    yield Child("attn", block.spatial_se)
    yield Child("conv3_1x1", block.expand)


def _bilinear_attention(gate: BilinearAttention) -> Iterator[Child]:
    yield Child("conv1", gate.reduce)
    yield Child("ba.conv1", gate.transform.squeeze)
    yield Child("ba.conv_p", gate.transform.rows)
    yield Child("ba.conv_q", gate.transform.columns)
    yield Child("ba.conv2", gate.transform.project)
    yield Child("conv2", gate.expand)


def _attention_pool(pool: AttentionPool) -> Iterator[Child | Tensor]:
    yield Tensor("pos_embed", pool.positions, SAME)
    yield Child("q", pool.query)
    yield Child("k", pool.key)
    yield Child("v", pool.value)


def _network(model: Backbone) -> Iterator[Child]:
    layers: Any = model.stem.layers
    for number, unit in enumerate(layers, 1):
        place = f"stem.conv{number}" if len(layers) > 1 else "stem"
        yield Child(place, unit.conv if unit.act is None else unit)
    for number, stage in enumerate(model.stages):
        for place, block in enumerate(stage.blocks):
            yield Child(f"stages.{number}.{place}", block, _block)
    yield Child("final_conv", model.head.conv)
    yield from _head(model.head)


def _head(head: Head) -> Iterator[Child]:
    if isinstance(head, AttentionHead):
        yield Child("head", head.attention)
        yield Child("head.proj", head.classifier)
        return
    yield Child("head.norm", head.norm)
    yield Child("head.pre_logits.fc", head.hidden)
    yield Child("head.fc", head.classifier)


BYOB: Vendor = {
    AttentionPool: _attention_pool,
    BilinearAttention: _bilinear_attention,
    "byobnet": _network,
}
