"""The forms that blocks have on CPU."""

from typing import Any

from flaxblocks import blocks
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.inference import inverted_residual, residual, units
from flaxblocks.layers import ConvNormAct
from flaxblocks.models.stage import Stage
from flaxblocks.ops.chunks import chunked
from flaxblocks.ops.fused import Form, register_forms

NATIVE: dict[Any, Form] = {
    ConvNormAct: units.unit,
    PooledProjection: units.pooled_projection,
    blocks.BasicBlock: residual.basic,
    blocks.BottleNeck: residual.bottleneck,
    blocks.InvertedResidual: residual.inverted,
    blocks.FusedMBConv: residual.fused_mbconv,
    blocks.MBConv: inverted_residual.mbconv,
    UniversalInvertedBottleneck: inverted_residual.universal,
}
"""What computes each block with native kernels."""

IN_CHUNKS: tuple[Any, ...] = (
    blocks.Stem,
    Stage,
    blocks.BasicBlock,
    blocks.BottleNeck,
    blocks.ConvNeXtBlock,
    blocks.DepthWiseSeparableConv,
    blocks.FusedMBConv,
    blocks.InvertedResidual,
    blocks.MBConv,
    UniversalInvertedBottleneck,
)
"""What takes a few images at a time: all that holds an array which may be wide."""

for block in {*NATIVE, *IN_CHUNKS}:
    operation = block.__call__
    in_chunks = (chunked(operation),) if block in IN_CHUNKS else ()
    native = (NATIVE[block],) if block in NATIVE else ()
    register_forms("cpu", operation, *in_chunks, *native)
