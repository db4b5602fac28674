"""A convolution as one matrix product per tap of its kernel.

XLA hands a matrix product to a fast library but not a convolution with a 1x1 kernel: at
8x56x56, 64 to 256 channels, the product takes half the time. With more than one tap this form is
slower than XLA's convolution, but it has derivatives where XLA's compiler ends the process (a
stride and a dilation above 1 together, jaxlib 0.10.2).
"""

from functools import reduce

import jax
import jax.numpy as jnp

from flaxblocks.ops.geometry import Geometry
from flaxblocks.ops.taps import padded, seen, unseen


def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, precision) -> jax.Array:
    """Return the convolution of NHWC with HWIO, not grouped."""
    x = padded(x, geometry)
    products = (
        jnp.einsum("nhwi,io->nhwo", seen(x, geometry, tap), kernel[tap], precision=precision)
        for tap in geometry.taps
    )
    return reduce(jnp.add, products)


def input_gradient(kernel: jax.Array, g: jax.Array, geometry: Geometry, precision) -> jax.Array:
    """Return the gradient with respect to the input."""
    products = (
        unseen(jnp.einsum("nhwo,io->nhwi", g, kernel[tap], precision=precision), geometry, tap)
        for tap in geometry.taps
    )
    return reduce(jnp.add, products)


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, precision) -> jax.Array:
    """Return the gradient with respect to the kernel."""
    x = padded(x, geometry)
    products = (_product(seen(x, geometry, tap), g, precision) for tap in geometry.taps)
    return jnp.stack(list(products)).reshape(*geometry.window, x.shape[3], g.shape[3])


def _product(x: jax.Array, g: jax.Array, precision) -> jax.Array:
    # XLA writes out the transpose of the first array, so the narrower one goes first.
    if x.shape[3] > g.shape[3]:
        return jnp.einsum("nhwo,nhwi->oi", g, x, precision=precision).T
    return jnp.einsum("nhwi,nhwo->io", x, g, precision=precision)


BY_ROLE = {"output": convolve, "input": input_gradient, "kernel": kernel_gradient}
