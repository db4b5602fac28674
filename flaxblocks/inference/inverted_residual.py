"""Inverted residuals as one native kernel."""

from typing import Any

import jax

from flaxblocks.blocks.mbconv import MBConv
from flaxblocks.blocks.universal import UniversalInvertedBottleneck
from flaxblocks.inference.gates import is_gate
from flaxblocks.inference.units import geometry_in, is_pointwise, is_unit, summed, weights
from flaxblocks.layers import ConvNormAct
from flaxblocks.layers.optional import apply
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.native import inverted_residual as kernel
from flaxblocks.ops.program import Program


def mbconv(program: Program, block: MBConv, x: jax.Array) -> jax.Array | None:
    """Compute an `MBConv`."""
    if not program.kernels or block.pool is not None:
        return None
    units = block.expand, block.depthwise, block.project
    return _inverted(program, x, *units, block.se, block.final_act, residual=block.residual)


def universal(
    program: Program, block: UniversalInvertedBottleneck, x: jax.Array
) -> jax.Array | None:
    """Compute a `UniversalInvertedBottleneck`, the convolution before the expansion apart."""
    if not program.kernels or block.pool is not None or block.layer_scale is not None:
        return None
    y = apply(block.start, x)
    if block.depthwise is None:
        return summed(program, block.project, block.expand(y), x, None) if block.residual else None
    units = block.expand, block.depthwise, block.project
    if block.start is None:
        return _inverted(program, x, *units, None, None, residual=block.residual)
    y = _inverted(program, y, *units, None, None, residual=False)
    return y + x if y is not None and block.residual else y


def _inverted(
    program: Program,
    x: jax.Array,
    expand: ConvNormAct | None,
    depthwise: ConvNormAct,
    project: ConvNormAct,
    se: Any,
    final_act: Activation | None,
    *,
    residual: bool,
) -> jax.Array | None:
    """Return ``final_act(project(se(depthwise(expand(x)))) + x)``, None if there is no kernel."""
    units = [unit for unit in (expand, depthwise, project) if unit is not None]
    if any(not is_unit(unit) or unit.norm is not None for unit in units) or project.act:
        return None
    if se is not None and not is_gate(se):
        return None
    first = None if expand is None else expand.conv
    gate = (None, None) if se is None else (se.reduce, se.expand)
    if not all(conv is None or is_pointwise(conv, x) for conv in (first, *gate, project.conv)):
        return None
    geometry = geometry_in(depthwise.conv, x)
    acts = (
        None if expand is None else expand.act,
        depthwise.act,
        *((None, None) if se is None else (se.act, se.gate)),
        final_act,
    )
    if geometry is None:
        return None
    filters, last = weights(depthwise.conv), weights(project.conv)
    if not kernel.fits(x, filters[0], last[0], geometry, acts, program.kernels):
        return None
    optional = [None if conv is None else weights(conv) for conv in (first, *gate)]
    layers = optional[0], filters, *optional[1:], last
    return kernel.compute(x, layers, geometry, acts, residual=residual)
