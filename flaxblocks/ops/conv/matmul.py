# pyright: reportUnknownMemberType=false
"""A convolution as one matrix product per tap of its kernel.

XLA calls a fast library for a matrix product but not for a convolution with a 1x1 kernel: at
8x56x56, 64 to 256 channels, the product takes half the time. With more than one tap this form is
slower than XLA's convolution, but it has derivatives where XLA's compiler crashes (a stride and a
dilation above 1 together, jaxlib 0.10.2).
"""

from functools import reduce

import jax
from jax import lax

from flaxblocks.ops.conv.geometry import Geometry, Pair
from flaxblocks.ops.conv.taps import padded, seen, unseen


def convolve(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Return the convolution of NHWC with HWIO, not grouped."""
    x = padded(x, geometry)
    products = (
        _contract(seen(x, geometry, tap), 3, _at(kernel, tap), 0, precision)
        for tap in geometry.taps
    )
    return reduce(lax.add, products)


def input_gradient(
    kernel: jax.Array, g: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Return the gradient with respect to the input."""
    products = (
        unseen(_contract(g, 3, _at(kernel, tap), 1, precision), geometry, tap)
        for tap in geometry.taps
    )
    return reduce(lax.add, products)


def kernel_gradient(
    x: jax.Array, g: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Return the gradient with respect to the kernel."""
    x = padded(x, geometry)
    # Flat: for a product over three axes XLA copies the array to put the rows before the images.
    products = [
        _contract(_flat(seen(x, geometry, tap)), 0, _flat(g), 0, precision) for tap in geometry.taps
    ]
    return lax.concatenate(products, 0).reshape(*geometry.window, x.shape[3], g.shape[3])


def _at(kernel: jax.Array, tap: Pair) -> jax.Array:
    return kernel[tap] if kernel.shape[:2] != (1, 1) else kernel.reshape(kernel.shape[2:])


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[3])


def _contract(
    x: jax.Array, axis: int, y: jax.Array, other: int, precision: lax.PrecisionLike
) -> jax.Array:
    # Not einsum: it takes half a millisecond more per call to trace and to compile.
    return lax.dot_general(x, y, (((axis,), (other,)), ((), ())), precision=precision)


BY_ROLE = {"output": convolve, "input": input_gradient, "kernel": kernel_gradient}
