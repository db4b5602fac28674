"""A convolution with its bias, a residual and an activation as one native kernel."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks.residual import PooledProjection, add_branches
from flaxblocks.layers import Conv, ConvNormAct, MixedConv
from flaxblocks.layers.optional import apply
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.recognize import NHWC, geometry_of
from flaxblocks.ops.native.convolution import convolve, fused_name
from flaxblocks.ops.program import Program


def unit(program: Program, module: ConvNormAct, x: jax.Array) -> jax.Array | None:
    """Compute a `ConvNormAct`."""
    if not program.kernels or module.norm is not None:
        return None
    return _convolution(program, module.conv, x, module.act)


def pooled_projection(program: Program, module: PooledProjection, x: jax.Array):
    """Compute a `PooledProjection`."""
    return unit(program, module, module.average(x))


def summed(
    program: Program, last: ConvNormAct, x: jax.Array, identity: jax.Array, act: Activation | None
) -> jax.Array:
    """Return ``act(last(x) + identity)``, from one kernel where there is one."""
    if is_unit(last) and last.norm is None and last.act is None:
        y = _convolution(program, last.conv, x, act, identity)
        if y is not None:
            return y
    return apply(act, add_branches(last(x), identity))


def is_unit(module: object) -> bool:
    """Return whether the module is called as a `ConvNormAct`, not as a subclass of its own."""
    return getattr(module, "operation", type(module).__call__) is ConvNormAct.__call__


def geometry_in(conv: nnx.Conv | MixedConv, x: jax.Array) -> Geometry | None:
    """Return a layer's geometry on images as large as `x`, None where no kernel can compute it.

    That is where the layer is not ours, or computes in another dtype than the images have.
    """
    layer: Any = conv  # NNX's annotations allow forms that ours never has
    if type(conv) is not Conv or conv.dtype not in (None, x.dtype):
        return None
    kernel, bias = weights(conv)
    if bias.dtype != x.dtype:
        return None
    images = jax.ShapeDtypeStruct(
        (*x.shape[:3], layer.in_features), x.dtype, sharding=jax.typeof(x).sharding
    )
    groups, steps = layer.feature_group_count, layer.strides
    return geometry_of(images, kernel, steps, layer.padding, layer.kernel_dilation, NHWC, groups)


def weights(conv: Any) -> tuple[jax.Array, jax.Array]:
    """Return the layer's kernel and its bias, zeros where it has none."""
    kernel = conv.kernel[...]
    if conv.bias is None:
        return kernel, jnp.zeros(kernel.shape[3], kernel.dtype)
    return kernel, conv.bias[...]


def _convolution(
    program: Program,
    conv: nnx.Conv | MixedConv,
    x: jax.Array,
    act: Activation | None,
    residual: jax.Array | None = None,
) -> jax.Array | None:
    geometry = geometry_in(conv, x)
    if geometry is None or (residual is not None and residual.dtype != x.dtype):
        return None
    kernel, bias = weights(conv)
    name = fused_name(x, kernel, geometry, act, program.kernels)
    return None if name is None else convolve(name, geometry, x, kernel, bias, residual, act)
