"""Which form a convolution takes on CPU, by its shape."""

from functools import partial

import jax
import jax.numpy as jnp

from flaxblocks.ops.conv import depthwise_kernel_gradient, matmul, shifts, wide_product, xla
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.grouped import by_group, kernel_by_blocks
from flaxblocks.ops.native import convolution as native_convolution

# Wider groups are worth a library call each; narrower ones suit XLA's vector loops. At 8x28x28x256
# with 32 groups of 8 both take 6 ms; with 16 channels the loops take 50 times as long.
WIDEST_SHIFTED = 8


def lower(
    first: jax.Array,
    second: jax.Array,
    *,
    role: str,
    geometry: Geometry,
    precision: jax.lax.PrecisionLike,
    kernels: bool,
) -> jax.Array:
    """Compute the array that `role` names from the other two, in the fastest form on CPU."""
    dtype = first.dtype
    if dtype.itemsize < 4:
        # XLA's loops over half precision are slow; float32 is fast, and rounds once at the end.
        first, second = first.astype(jnp.float32), second.astype(jnp.float32)
    form = native_convolution.form(first, second, role, geometry, kernels)
    result = form(first, second) if form else _choose(first, second, role, geometry, precision)
    return result.astype(dtype)


def _choose(
    first: jax.Array,
    second: jax.Array,
    role: str,
    geometry: Geometry,
    precision: jax.lax.PrecisionLike,
) -> jax.Array:
    if geometry.groups == 1:
        return _dense(first, second, role, geometry, precision)
    one = partial(_dense, role=role, geometry=geometry.with_groups(1), precision=precision)
    if role == "kernel":
        if first.shape[3] == geometry.groups:
            return depthwise_kernel_gradient.kernel_gradient(first, second, geometry)
        return kernel_by_blocks(one, first, second, geometry.groups)
    kernel = second if role == "output" else first
    if max(kernel.shape[2], kernel.shape[3] // geometry.groups) > WIDEST_SHIFTED:
        return by_group(one, first, second, geometry.groups)
    form = shifts.convolve if role == "output" else shifts.input_gradient
    return form(first, second, geometry)


def _dense(
    first: jax.Array,
    second: jax.Array,
    role: str,
    geometry: Geometry,
    precision: jax.lax.PrecisionLike,
) -> jax.Array:
    # XLA's compiler crashes on derivatives with a stride and a dilation above 1 (jaxlib 0.10.2).
    fatal = max(geometry.strides) > 1 and max(geometry.dilation) > 1
    # On an image smaller than the window XLA takes a generic loop: 3 ms in place of 0.3 for 3x3
    # over 4x2x2 with 256 channels, 44 ms in place of 1 for 5x5 over 4x4x4.
    small = role != "kernel" and any(
        size < taps for size, taps in zip(geometry.image, geometry.window, strict=True)
    )
    # A product with few rows XLA compiles to a loop of its own, in 20 ms in place of 4, which adds
    # up in a network with squeeze-and-excite gates.
    few_rows = role == "output" and geometry.output == (1, 1)
    # Where a stride spreads a gradient in float64 XLA has no library but a loop: 8 ms in place of 5
    # for 7x7 over 2x65x67 with 3 channels, and 730 in place of 14 where it is not optimized.
    spread = role == "input" and max(geometry.strides) > 1 and first.dtype == jnp.float64
    if fatal or small or spread or (geometry.is_pointwise and not few_rows):
        return matmul.BY_ROLE[role](first, second, geometry, precision)
    if role == "output" and wide_product.fits(first, second, geometry):
        return wide_product.convolve(first, second, geometry, precision)
    return xla.BY_ROLE[role](first, second, geometry, precision)
