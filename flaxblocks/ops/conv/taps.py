"""The strided slice of the padded input that one tap of the kernel reads, and its transpose."""

import jax
import jax.numpy as jnp
from jax import lax

from flaxblocks.ops.conv.geometry import Geometry, Pair


def padded(x: jax.Array, geometry: Geometry, value: float = 0) -> jax.Array:
    """Return the input with its padding, cropped where that is negative."""
    (top, bottom), (left, right) = geometry.padding
    return _pad(x, (top, bottom, 0), (left, right, 0), value)


def seen(x: jax.Array, geometry: Geometry, tap: Pair) -> jax.Array:
    """Return the pixels of the padded input that one tap reads, one for each output pixel.

    The input is an array ``(n, height, width, ...)``.
    """
    first = [t * d for t, d in zip(tap, geometry.dilation, strict=True)]
    spans = zip(first, geometry.output, geometry.strides, strict=True)
    rows, columns = (slice(i, i + (size - 1) * s + 1, s) for i, size, s in spans)
    if (rows, columns) == (slice(0, x.shape[1], 1), slice(0, x.shape[2], 1)):
        return x
    rest = x.shape[3:]
    corner = (0, rows.start, columns.start, *(0 for _ in rest))
    limits = (x.shape[0], rows.stop, columns.stop, *rest)
    return lax.slice(x, corner, limits, (1, rows.step, columns.step, *(1 for _ in rest)))


def unseen(y: jax.Array, geometry: Geometry, tap: Pair) -> jax.Array:
    """Put each output pixel where the tap read it in the input, zeros elsewhere."""
    sides = zip(
        geometry.image,
        geometry.output,
        geometry.strides,
        geometry.dilation,
        geometry.padding,
        tap,
        strict=True,
    )
    rows, columns = (
        (t * d - low, size - (t * d - low) - (count - 1) * s - 1, s - 1)
        for size, count, s, d, (low, _), t in sides
    )
    return _pad(y, rows, columns)


def _pad(
    x: jax.Array, rows: tuple[int, int, int], columns: tuple[int, int, int], value: float = 0
) -> jax.Array:
    untouched = (0, 0, 0)
    if rows == columns == untouched:
        return x
    return lax.pad(x, jnp.asarray(value, x.dtype), (untouched, rows, columns, untouched))
