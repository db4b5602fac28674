"""The input gradient of a strided convolution, phase by phase.

Input pixels whose position has the same remainder modulo the stride are one phase, and are read by
the same taps. So each phase of the gradient with respect to the input is a convolution of the
gradient with respect to the output with stride 1, and no products are spent on zeros in between.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from flaxblocks.ops.conv.geometry import Geometry


class Phases(NamedTuple):
    """How the phases along one axis read the padded gradient."""

    pad: tuple[int, int, int]
    count: int  # pixels of each phase  # pyright: ignore[reportIncompatibleMethodOverride]
    crop: int  # leading pixels that lie before the input
    taps: list[list[tuple[int, int]]]  # of each phase, with the first pixel that each reads


def phases(geometry: Geometry) -> tuple[Phases, Phases]:
    """Return the phases along the rows and along the columns."""
    return _along(geometry, 0), _along(geometry, 1)


def padded_gradient(g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the gradient with respect to the output with the zeros that the phases read."""
    rows, columns = phases(geometry)
    return lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), rows.pad, columns.pad, (0, 0, 0)))


def _along(geometry: Geometry, axis: int) -> Phases:
    stride, dilation = geometry.strides[axis], geometry.dilation[axis]
    low, size = geometry.padding[axis][0], geometry.image[axis]
    first = low // stride
    count = -(-(low + size) // stride) - first
    before = max(0, dilation * (geometry.window[axis] - 1) // stride - first)
    after = max(0, first + count - geometry.output[axis])
    taps: list[list[tuple[int, int]]] = [[] for _ in range(stride)]
    for t in range(geometry.window[axis]):
        taps[dilation * t % stride].append((t, before + first - dilation * t // stride))
    return Phases((before, after, 0), count, low - stride * first, taps)
