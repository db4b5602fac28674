"""Blocks of ConvNeXt with a native kernel for each layer."""

import jax

from flaxblocks.blocks import ConvNeXtBlock
from flaxblocks.inference.units import convolved
from flaxblocks.layers import LayerNorm
from flaxblocks.layers.optional import apply
from flaxblocks.ops.native import layer_norm as kernel
from flaxblocks.ops.program import Program


def convnext(program: Program, block: ConvNeXtBlock, x: jax.Array) -> jax.Array | None:
    """Compute a `ConvNeXtBlock` whose scale is folded."""
    if not program.kernels or block.layer_scale is not None:
        return None
    y = convolved(program, block.depthwise, x, None)
    y = None if y is None else convolved(program, block.expand, apply(block.norm, y), block.act)
    if y is None:
        return None
    return convolved(program, block.project, apply(block.response_norm, y), None, x)


def layer_norm(program: Program, norm: LayerNorm, x: jax.Array) -> jax.Array | None:
    """Compute a `LayerNorm`."""
    scale, bias = norm.scale, norm.bias
    if not program.kernels or scale is None or bias is None:
        return None
    if scale.dtype != x.dtype or norm.dtype not in (None, x.dtype):
        return None
    if not kernel.fits(x, program.kernels):
        return None
    return kernel.compute(x, scale[...], bias[...], norm.epsilon)
