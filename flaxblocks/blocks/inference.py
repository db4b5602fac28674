"""Inverted residuals without normalisations as one operation, where it has a native kernel."""

import jax
from flax import nnx

from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.inference import geometry_in, is_as_built, may_fuse, weights
from flaxblocks.layers.squeeze_excite import SqueezeExcite
from flaxblocks.layers.stochastic_depth import StochasticDepth
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.fused.inverted_residual import InvertedResidual, Weights
from flaxblocks.ops.fused.primitive import fused


def in_one(
    x: jax.Array,
    expand: ConvNormAct | None,
    depthwise: ConvNormAct,
    se: object,
    project: ConvNormAct,
    *,
    residual: bool,
    drop_path: StochasticDepth | None,
    final_act: Activation | None = None,
) -> jax.Array | None:
    """Return ``final_act(project(se(depthwise(expand(x)))) + x)`` where one kernel computes it.

    That takes `native_convolution`, folded normalisations, and layers as they were built.

    Args:
        x: input of shape ``(n, h, w, c)``.
        expand: 1x1; None for none.
        depthwise: one filter for each channel.
        se: the gate; None for none.
        project: 1x1.
        residual: whether `x` is added.
        drop_path: what else is done to the branch in train mode; None for nothing.
        final_act: activation at the end; None for none.

    Returns:
        The result, of shape ``(n, p, q, d)``; None where there is no such kernel.
    """
    in_training = residual and drop_path is not None and not drop_path.deterministic
    if not may_fuse() or in_training:
        return None
    units = [unit for unit in (expand, depthwise, project) if unit is not None]
    if any(type(u) is not ConvNormAct or u.norm is not None for u in units) or project.act:
        return None
    if se is not None and type(se) is not SqueezeExcite:
        return None
    gate = () if se is None else (se.reduce, se.expand)
    ends = [unit.conv for unit in (expand, project) if unit is not None]
    if not all(is_as_built(conv, x) for conv in (depthwise.conv, *ends, *gate)):
        return None
    first = units[0].conv.in_features
    if not all(_is_pointwise(conv) for conv in (*ends, *gate)) or x.shape[3:] != (first,):
        return None
    geometry = geometry_in(depthwise.conv, x)
    if geometry is None:
        return None
    operations = InvertedResidual(
        geometry,
        residual,
        expand_act=None if expand is None else expand.act,
        act=depthwise.act,
        squeeze_act=None if se is None else se.act,
        gate_act=None if se is None else se.gate,
        final_act=final_act,
    )
    filters, last = _weights(depthwise.conv), _weights(project.conv)
    if not operations.fits(x, filters, last):
        return None
    widen = None if expand is None else _weights(expand.conv)
    return fused(operations, x, widen, filters, tuple(map(_weights, gate)) or None, last)


def _is_pointwise(conv: nnx.Conv) -> bool:
    return (conv.kernel_size, conv.strides, conv.padding) == ((1, 1), (1, 1), ((0, 0), (0, 0)))


def _weights(conv: nnx.Conv) -> Weights:
    return Weights(*weights(conv))
