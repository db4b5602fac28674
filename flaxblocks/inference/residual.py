"""Blocks whose last convolution adds the other branch, all convolutions native kernels."""

import jax

from flaxblocks.blocks import BasicBlock, BottleNeck, FusedMBConv, InvertedResidual
from flaxblocks.inference.units import summed
from flaxblocks.layers.optional import apply
from flaxblocks.ops.program import Program


def bottleneck(program: Program, block: BottleNeck, x: jax.Array) -> jax.Array | None:
    """Compute a `BottleNeck`."""
    if not program.kernels or not block.adds or block.se is not None:
        return None
    y = block.reduce(x)
    y = apply(block.pool, block.spatial(y))
    y = apply(block.spatial_se, y)
    return summed(program, block.expand, y, apply(block.shortcut, x), block.final_act)


def basic(program: Program, block: BasicBlock, x: jax.Array) -> jax.Array | None:
    """Compute a `BasicBlock`."""
    if not program.kernels or not block.adds or block.se is not None:
        return None
    y = apply(block.pool, block.first(x))
    y = apply(block.hidden_se, y)
    return summed(program, block.second, y, apply(block.shortcut, x), block.final_act)


def inverted(program: Program, block: InvertedResidual, x: jax.Array) -> jax.Array | None:
    """Compute an `InvertedResidual`."""
    if not program.kernels or not block.adds:
        return None
    y = block.spatial(block.expand(x))
    return summed(program, block.project, y, apply(block.shortcut, x), block.final_act)


def fused_mbconv(program: Program, block: FusedMBConv, x: jax.Array) -> jax.Array | None:
    """Compute a `FusedMBConv`."""
    if not program.kernels or not block.residual or block.project is None:
        return None
    y = apply(block.pool, block.expand(x))
    y = apply(block.se, y)
    return summed(program, block.project, y, x, block.final_act)
