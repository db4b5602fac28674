"""The forms that blocks have on CPU."""

from typing import Any

from flaxblocks import blocks
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.inference import (
    conditional,
    convnext,
    gates,
    inverted_residual,
    last_layers,
    residual,
    units,
)
from flaxblocks.layers import CondConv, ConvNormAct, LayerNorm, Linear, SqueezeExcite
from flaxblocks.models.stage import Stage
from flaxblocks.ops.chunks import chunked
from flaxblocks.ops.fused import Form, register_forms

ONE_KERNEL: dict[Any, Form] = {
    ConvNormAct: units.unit,
    PooledProjection: units.pooled_projection,
    LayerNorm: convnext.layer_norm,
    Linear: units.linear,
    SqueezeExcite: gates.squeeze_excite,
    blocks.MBConv: inverted_residual.mbconv,
    UniversalInvertedBottleneck: inverted_residual.universal,
    blocks.Head: last_layers.head,
}
"""What computes a layer or block with one native kernel, which is fastest on all images at once."""

SEVERAL_KERNELS: dict[Any, Form] = {
    blocks.BasicBlock: residual.basic,
    blocks.BottleNeck: residual.bottleneck,
    blocks.InvertedResidual: residual.inverted,
    blocks.FusedMBConv: residual.fused_mbconv,
    blocks.ConvNeXtBlock: convnext.convnext,
}
"""What computes a block with a native kernel for each convolution."""

IN_CHUNKS: tuple[Any, ...] = (
    *SEVERAL_KERNELS,
    blocks.MBConv,
    UniversalInvertedBottleneck,
    blocks.DepthWiseSeparableConv,
    blocks.Stem,
    Stage,
)
"""What may hold a wide temporary array, and so takes a few images at a time."""


def _forms(block: Any) -> list[Form]:
    """Return a block's forms, the best first."""
    in_chunks = chunked(block.__call__) if block in IN_CHUNKS else None
    forms = ONE_KERNEL.get(block), in_chunks, SEVERAL_KERNELS.get(block)
    return [form for form in forms if form is not None]


register_forms("cpu", CondConv.__call__, conditional.cond_conv)
for block in {*ONE_KERNEL, *IN_CHUNKS}:
    register_forms("cpu", block.__call__, *_forms(block))
