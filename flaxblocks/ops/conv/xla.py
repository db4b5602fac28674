"""XLA's own convolution, in each of the three roles."""

import jax
from jax import lax

from flaxblocks.ops.conv.geometry import Geometry


def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, precision) -> jax.Array:
    """Return the convolution of NHWC with HWIO."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
        precision=precision,
    )


def input_gradient(kernel: jax.Array, g: jax.Array, geometry: Geometry, precision) -> jax.Array:
    """Return the gradient with respect to the input, as JAX derives it."""
    features = kernel.shape[2] * geometry.groups
    missing = _like(g, (g.shape[0], *geometry.image, features))
    transposed = jax.linear_transpose(lambda x: convolve(x, kernel, geometry, precision), missing)
    return transposed(g)[0]


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, precision) -> jax.Array:
    """Return the gradient with respect to the kernel, as JAX derives it."""
    missing = _like(g, (*geometry.window, x.shape[3] // geometry.groups, g.shape[3]))
    transposed = jax.linear_transpose(lambda w: convolve(x, w, geometry, precision), missing)
    return transposed(g)[0]


def _like(g: jax.Array, shape: tuple) -> jax.ShapeDtypeStruct:
    # Varying over the same axes of a shard_map as `g`: else JAX would sum over those.
    kind = jax.typeof(g)
    return jax.ShapeDtypeStruct(
        shape, g.dtype, sharding=kind.sharding, manual_axis_type=kind.manual_axis_type
    )


BY_ROLE = {"output": convolve, "input": input_gradient, "kernel": kernel_gradient}
