# pyright: reportUnknownMemberType=false
"""Pooling with PyTorch's padding."""

from functools import partial, reduce
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from flaxblocks.ops import switch
from flaxblocks.ops.conv.geometry import Geometry, Pair
from flaxblocks.ops.conv.taps import padded, seen


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
    return _max_pool(x, kernel_size, stride, side)


@partial(jax.custom_jvp[jax.Array], nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, size: int, stride: int, side: Pair) -> jax.Array:
    windows = partial(_largest_of_windows, size=size, stride=stride, side=side)
    if switch.implementation.value == "lax":
        return windows(x)
    taps = partial(_largest_of_taps, size=size, stride=stride, side=side)
    return cast(jax.Array, lax.platform_dependent(x, cpu=taps, default=windows))


def _largest_of_windows(x: jax.Array, *, size: int, stride: int, side: Pair) -> jax.Array:
    lowest, sides = np.asarray(-np.inf, x.dtype), ((0, 0), side, side, (0, 0))
    window, steps = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, lowest, lax.max, window, steps, sides)


def _largest_of_taps(x: jax.Array, *, size: int, stride: int, side: Pair) -> jax.Array:
    """Return the same, as one loop over vectors of channels.

    On CPU XLA's own windows take 2.6 to 5 times as long.
    """
    geometry = pool_geometry(x, size, stride, side)
    pixels = padded(x, geometry, -np.inf)
    return reduce(jnp.maximum, (seen(pixels, geometry, tap) for tap in geometry.taps))


def pool_geometry(x: jax.Array, size: int, stride: int, side: Pair) -> Geometry:
    """Return the geometry of square windows on images of shape ``(n, h, w, c)``."""
    image = x.shape[1], x.shape[2]
    return Geometry(image, (size, size), (stride, stride), (side, side), (1, 1), 1)


@_max_pool.defjvp
def _max_pool_derivative(
    size: int, stride: int, side: Pair, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Pass on the first largest pixel's tangent.

    JAX's own derivative scatters; this one is a sum over the taps of the window, which XLA makes
    one loop of, in both directions.
    """
    (x,), (dx,) = primals, tangents
    y = _max_pool(x, size, stride, side)
    geometry = pool_geometry(x, size, stride, side)
    pixels, changes = padded(x, geometry, -np.inf), padded(dx, geometry)
    # By comparing the pixels with each other, not with `y`: XLA may recompute them in another
    # fusion and round them differently from `y`.
    best, largest = seen(pixels, geometry, (0, 0)), jnp.zeros(y.shape, jnp.uint8)
    for number, tap in enumerate(geometry.taps[1:], 1):
        pixel = seen(pixels, geometry, tap)
        largest = jnp.where(pixel > best, jnp.uint8(number), largest)
        best = jnp.maximum(pixel, best)
    terms = (
        jnp.where(largest == number, seen(changes, geometry, tap), 0)
        for number, tap in enumerate(geometry.taps)
    )
    return y, reduce(jnp.add, terms)


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
    rows, columns = map(_parts, x.shape[1:3], size)
    wide = x.astype(np.promote_types(x.dtype, np.float32))
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
