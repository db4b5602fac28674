# pyright: reportUnknownMemberType=false
"""Pooling with PyTorch's padding."""

from dataclasses import dataclass
from functools import partial, reduce
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from flaxblocks.ops.conv.geometry import Geometry, Pair
from flaxblocks.ops.conv.taps import padded, seen
from flaxblocks.ops.fused import fused, register_forms
from flaxblocks.ops.native import pool as kernel
from flaxblocks.ops.program import Program
from flaxblocks.ops.transposable import transposable


def max_pool(
    x: Float[Array, "n h w c"],
    *,
    kernel_size: int = 3,
    stride: int = 2,
    padding: int = 1,
    ceil_mode: bool = False,
) -> Float[Array, "n p q c"]:
    """Return the largest value of each channel in each window.

    The padding counts as minus infinity, so it never wins.

    Args:
        x: input of shape ``(n, h, w, c)``.
        kernel_size: height and width of the window in pixels.
        stride: step of the window in pixels.
        padding: pixels added on each side.
        ceil_mode: whether a last window that only begins within the image counts too.

    Returns:
        Output of shape ``(n, p, q, c)``, with
        ``p = (h + 2 * padding - kernel_size) // stride + 1``, rounded up in `ceil_mode`, and `q`
        likewise.

    Source: `torch.nn.MaxPool2d`.
    """
    side = (padding, padding + stride - 1 if ceil_mode else padding)
    return _max_pool(x, Windows(kernel_size, stride, side))


@jax.tree_util.register_static
@dataclass(frozen=True)
class Windows:
    """Square windows: their side, their step and the ``(low, high)`` padding of both axes."""

    size: int
    stride: int
    side: Pair

    def geometry(self, x: jax.Array) -> Geometry:
        """Return their geometry on images of shape ``(n, h, w, c)``."""
        image, window = (x.shape[1], x.shape[2]), (self.size, self.size)
        strides = (self.stride, self.stride)
        return Geometry(image, window, strides, (self.side, self.side), (1, 1), 1)


@partial(jax.custom_jvp[jax.Array], nondiff_argnums=(1,))
def _max_pool(x: jax.Array, windows: Windows) -> jax.Array:
    return fused(_largest, windows, x)


@_max_pool.defjvp
def _max_pool_derivative(
    windows: Windows, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return _max_pool(*primals, windows), transposable(
        _tangent, _transposed, windows, tangents, primals
    )


def _largest(windows: Windows, x: jax.Array) -> jax.Array:
    lowest, sides = np.asarray(-np.inf, x.dtype), ((0, 0), windows.side, windows.side, (0, 0))
    window, steps = (1, windows.size, windows.size, 1), (1, windows.stride, windows.stride, 1)
    return lax.reduce_window(x, lowest, lax.max, window, steps, sides)


def _largest_of_taps(program: Program, windows: Windows, x: jax.Array) -> jax.Array:
    """Return the same, as one loop over vectors of channels.

    On CPU XLA's own windows take 2.6 to 5 times as long.
    """
    geometry = windows.geometry(x)
    pixels = padded(x, geometry, -np.inf)
    return reduce(jnp.maximum, (seen(pixels, geometry, tap) for tap in geometry.taps))


def _tangent(windows: Windows, dx: jax.Array, x: jax.Array) -> jax.Array:
    """Pass on the first largest pixel's tangent.

    JAX's own derivative scatters; this one is a sum over the taps of the window, which XLA makes
    one loop of, in both directions.
    """
    geometry = windows.geometry(x)
    pixels, changes = padded(x, geometry, -np.inf), padded(dx, geometry)
    # By comparing the pixels with each other, not with the result: XLA may recompute them in
    # another fusion and round them differently.
    best = seen(pixels, geometry, (0, 0))
    largest = jnp.zeros(best.shape, jnp.uint8)
    for number, tap in enumerate(geometry.taps[1:], 1):
        pixel = seen(pixels, geometry, tap)
        largest = jnp.where(pixel > best, jnp.uint8(number), largest)
        best = jnp.maximum(pixel, best)
    terms = (
        jnp.where(largest == number, seen(changes, geometry, tap), 0)
        for number, tap in enumerate(geometry.taps)
    )
    return reduce(jnp.add, terms)


def _transposed(windows: Windows, g: jax.Array, x: jax.Array) -> tuple[jax.Array]:
    """Return the gradient with respect to the input."""

    def tangent(dx: jax.Array) -> jax.Array:
        return _tangent(windows, dx, x)

    return cast(tuple[jax.Array], jax.linear_transpose(tangent, x)(g))


def _largest_by_kernel(program: Program, windows: Windows, x: jax.Array) -> jax.Array | None:
    if not kernel.fits(x, program.kernels):
        return None
    return kernel.max_pool(x, windows.geometry(x))


def _transposed_by_kernel(
    program: Program, windows: Windows, g: jax.Array, x: jax.Array
) -> tuple[jax.Array] | None:
    if not kernel.fits(x, program.kernels):
        return None
    return (kernel.max_pool_gradient(g, x, windows.geometry(x)),)


register_forms("cpu", _largest, _largest_by_kernel, _largest_of_taps)
register_forms("cpu", _transposed, _transposed_by_kernel)


def average_pool(x: Float[Array, "n h w c"], *, ceil_mode: bool = False) -> Float[Array, "n p q c"]:
    """Return the mean of each 2x2 block of pixels.

    Args:
        x: input of shape ``(n, h, w, c)``.
        ceil_mode: whether an odd last row or column is kept, each mean being over the pixels
            that are there; it is dropped otherwise.

    Returns:
        Output of shape ``(n, p, q, c)``, with ``p = h // 2``, or ``(h + 1) // 2`` in `ceil_mode`,
        and `q` likewise.

    Source: `torch.nn.AvgPool2d(2, ceil_mode=..., count_include_pad=False)`.
    """
    odd = 1 if ceil_mode else 0  # a window beyond the edge adds zeros to what is there
    pixels = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    means = _sum_pool(x, 2, after=odd) / _sum_pool(pixels, 2, after=odd)
    return means.astype(x.dtype)


def mean_pool(
    x: Float[Array, "n h w c"],
    *,
    kernel_size: int,
    stride: int,
    padding: int = 0,
    beyond: bool = True,
) -> Float[Array, "n p q c"]:
    """Return the mean of each channel in each window.

    Args:
        x: input of shape ``(n, h, w, c)``.
        kernel_size: height and width of the window in pixels.
        stride: step of the window in pixels.
        padding: pixels of zeros added on each side.
        beyond: whether these count; if not, each mean is over the pixels that are there.

    Returns:
        Output of shape ``(n, p, q, c)``, with
        ``p = (h + 2 * padding - kernel_size) // stride + 1`` and `q` likewise.

    Source: `torch.nn.AvgPool2d`, whose ``count_include_pad`` is `beyond`.
    """
    wide, side = x.astype(np.promote_types(x.dtype, np.float32)), (padding, padding)
    window, steps = (1, kernel_size, kernel_size, 1), (1, stride, stride, 1)
    zero, sides = np.zeros((), wide.dtype), ((0, 0), side, side, (0, 0))

    def sums(values: jax.Array) -> jax.Array:
        return lax.reduce_window(values, zero, lax.add, window, steps, sides)

    there = kernel_size**2 if beyond else sums(jnp.ones((1, *x.shape[1:3], 1), wide.dtype))
    return (sums(wide) / there).astype(x.dtype)


def adaptive_average_pool(
    x: Float[Array, "n h w c"], size: tuple[int, int]
) -> Float[Array, "n p q c"]:
    """Return the means over equal parts of the image, which share border pixels.

    Args:
        x: input of shape ``(n, h, w, c)``, smaller ones included.
        size: height and width of the output in pixels, `p` and `q`.

    Returns:
        Output of shape ``(n, p, q, c)``.

    Source: `torch.nn.AdaptiveAvgPool2d`.
    """
    if x.shape[1:3] == size:
        return x
    wide = x.astype(np.promote_types(x.dtype, np.float32))
    rows, columns = (m.astype(wide.dtype) for m in map(_parts, x.shape[1:3], size))
    return jnp.einsum("nhwc,ph,qw->npqc", wide, rows, columns, precision="highest").astype(x.dtype)


def _parts(pixels: int, size: int) -> np.ndarray:
    """Return the matrix ``(size, pixels)`` that averages each part of an axis."""
    position, part = np.arange(pixels), np.arange(size)[:, None]
    within = (position >= part * pixels // size) & (position < -(-(part + 1) * pixels // size))
    return within / within.sum(1, keepdims=True)


def blur_pool(
    x: Float[Array, "n h w c"], *, stride: int = 2, mirror: bool = True
) -> Float[Array, "n p q c"]:
    """Return every second pixel, blurred by the binomial filter ``(1, 2, 1) / 4`` on both axes.

    Args:
        x: input of shape ``(n, h, w, c)``, of at least 2 x 2 pixels.
        stride: distance between the pixels that are kept; 1 blurs only.
        mirror: whether the image is mirrored at its edges, without repeating the outermost pixels;
            else there are zeros beyond them.

    Returns:
        Output of shape ``(n, p, q, c)``, with ``p = (h - 1) // stride + 1`` and `q` likewise.

    Source: Zhang 2019, section 3.2, "Anti-aliased downsampling", Triangle-3.
    """
    sides = ((0, 0), (1, 1), (1, 1), (0, 0))
    wide = jnp.pad(x, sides, mode="reflect" if mirror else "constant")
    sums = _sum_pool(_sum_pool(wide, 1), stride)  # (1, 2, 1) is (1, 1) convolved with itself
    return (sums / 16).astype(x.dtype)


def _sum_pool(x: jax.Array, stride: int, after: int = 0) -> jax.Array:
    """Return the sum of each 2x2 window in at least float32, `after` rows of zeros at the end."""
    x = x.astype(np.promote_types(x.dtype, np.float32))
    sides, zero = ((0, 0), (0, after), (0, after), (0, 0)), np.zeros((), x.dtype)
    return lax.reduce_window(x, zero, lax.add, (1, 2, 2, 1), (1, stride, stride, 1), sides)
