"""A convolution with its bias, a residual and an activation as one native kernel."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks.residual import PooledProjection, add_branches
from flaxblocks.layers import Conv, ConvNormAct, Linear
from flaxblocks.layers.optional import apply
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.recognize import NHWC, geometry_of
from flaxblocks.ops.native.convolution import convolve, fused_name
from flaxblocks.ops.program import Program

NO_PADDING = ((0, 0), (0, 0))


def unit(program: Program, module: ConvNormAct, x: jax.Array) -> jax.Array | None:
    """Compute a `ConvNormAct`."""
    if not program.kernels or module.norm is not None:
        return None
    return convolved(program, module.conv, x, module.act)


def linear(program: Program, layer: Linear, x: jax.Array) -> jax.Array | None:
    """Compute a `Linear` on vectors or on each pixel of images."""
    if not program.kernels or x.ndim not in (2, 4):
        return None
    if x.ndim == 4:
        return convolved(program, layer, x, None)
    y = convolved(program, layer, x[:, None, None], None)
    return None if y is None else y[:, 0, 0]


def pooled_projection(program: Program, module: PooledProjection, x: jax.Array):
    """Compute a `PooledProjection`."""
    return unit(program, module, module.average(x))


def summed(
    program: Program, last: ConvNormAct, x: jax.Array, identity: jax.Array, act: Activation | None
) -> jax.Array:
    """Return ``act(last(x) + identity)``, from one kernel where there is one."""
    if is_unit(last) and last.norm is None and last.act is None:
        y = convolved(program, last.conv, x, act, identity)
        if y is not None:
            return y
    return apply(act, add_branches(last(x), identity))


def is_unit(module: object) -> bool:
    """Return whether the module is called as a `ConvNormAct`, not as a subclass of its own."""
    return is_called_as(module, ConvNormAct)


def is_called_as(module: object, kind: type[nnx.Module]) -> bool:
    """Return whether the module's call is that of `kind`, not of a subclass of its own."""
    return getattr(module, "operation", type(module).__call__) is kind.__call__


def geometry_in(layer: object, x: jax.Array) -> Geometry | None:
    """Return a layer's geometry on images as large as `x`, None where no kernel can compute it.

    That is where the layer is not ours, or computes in another dtype than the images have.
    """
    ours: Any = layer  # NNX's annotations allow forms that ours never has
    is_linear = is_called_as(layer, Linear)
    if not (is_linear or type(layer) is Conv) or ours.dtype not in (None, x.dtype):
        return None
    kernel, bias = weights(layer)
    if bias.dtype != x.dtype:
        return None
    if is_linear:
        return _pointwise(x)
    images = jax.ShapeDtypeStruct(
        (*x.shape[:3], ours.in_features), x.dtype, sharding=jax.typeof(x).sharding
    )
    groups, steps = ours.feature_group_count, ours.strides
    return geometry_of(images, kernel, steps, ours.padding, ours.kernel_dilation, NHWC, groups)


def is_pointwise(layer: object, x: jax.Array) -> bool:
    """Return whether the layer is a matrix product on the channels of each pixel."""
    return geometry_in(layer, x) == _pointwise(x)


def _pointwise(x: jax.Array) -> Geometry:
    _, height, width, _ = x.shape
    return Geometry((height, width), (1, 1), (1, 1), NO_PADDING, (1, 1), 1)


def weights(layer: Any) -> tuple[jax.Array, jax.Array]:
    """Return the layer's kernel, with the axes of a convolution's, and its bias, zeros for none."""
    kernel = layer.kernel[...]
    kernel = kernel[None, None] if kernel.ndim == 2 else kernel
    if layer.bias is None:
        return kernel, jnp.zeros(kernel.shape[3], kernel.dtype)
    return kernel, layer.bias[...]


def convolved(
    program: Program,
    layer: object,
    x: jax.Array,
    act: Activation | None,
    residual: jax.Array | None = None,
) -> jax.Array | None:
    """Return ``act(layer(x) + residual)`` from one kernel, None where there is none."""
    geometry = geometry_in(layer, x)
    if geometry is None or (residual is not None and residual.dtype != x.dtype):
        return None
    kernel, bias = weights(layer)
    name = fused_name(x, kernel, geometry, act, program.kernels)
    return None if name is None else convolve(name, geometry, x, kernel, bias, residual, act)
