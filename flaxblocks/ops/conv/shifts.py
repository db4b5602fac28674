# pyright: reportUnknownMemberType=false
"""A convolution of small groups as a sum of shifted products, which XLA fuses into one loop.

XLA's own grouped convolution on CPU is a generic loop. For a depthwise convolution it takes 20 to
50 times as long as this one, for groups of 4 channels 20 times.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import product

import jax
import jax.numpy as jnp
from jax import lax

from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.stride_phases import padded_gradient, phases
from flaxblocks.ops.conv.taps import padded, seen


def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the convolution of NHWC with HWIO."""
    copies = kernel.shape[3] // geometry.groups
    channels = _spread(_held(padded(x, geometry)), geometry.groups, copies)
    pixels = (seen(channel, geometry, tap) for tap in geometry.taps for channel in channels)
    return lax.squeeze(reduce(lax.add, map(_scaled, pixels, _weights(kernel))), (3,))


def input_gradient(kernel: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the gradient with respect to the input.

    Each phase of the input is a convolution of `g` with stride 1, see `stride_phases`.
    """
    rows, columns = phases(geometry)
    g = _held(padded_gradient(g, geometry))
    channels = _spread(g, geometry.groups, kernel.shape[2])
    kernel = transposed(kernel, geometry.groups)
    weights = dict(zip(product(geometry.taps, range(len(channels))), _weights(kernel), strict=True))

    def phase(row: int, column: int) -> jax.Array:
        terms = [
            _scaled(channel[:, i : i + rows.count, j : j + columns.count], weights[(s, t), o])
            for s, i in rows.taps[row]
            for t, j in columns.taps[column]
            for o, channel in enumerate(channels)
        ]
        shape = (g.shape[0], rows.count, columns.count, 1, kernel.shape[3])
        return reduce(lax.add, terms) if terms else jnp.zeros(shape, g.dtype)

    by_row = [
        jnp.stack([phase(i, j) for j in range(len(columns.taps))], axis=3)
        for i in range(len(rows.taps))
    ]
    x = jnp.stack(by_row, axis=2)
    x = x.reshape(g.shape[0], rows.count * len(rows.taps), columns.count * len(columns.taps), -1)
    height, width = geometry.image
    return x[:, rows.crop : rows.crop + height, columns.crop : columns.crop + width]


def _held(x: jax.Array) -> jax.Array:
    """Return the padded image with an axis of 1 before the channels.

    Without it XLA replaces the middle tap's slice of the padded image by the image itself, and so
    computes and writes the image twice: once padded and once not.
    """
    return lax.expand_dims(x, (3,))


def _weights(kernel: jax.Array) -> Sequence[jax.Array]:
    """Return the weights ``(1, channels)`` of each tap and each channel of a group."""
    # Split at once: a slice for each takes a third longer to trace.
    rows = kernel.reshape(-1, kernel.shape[3])
    return lax.split(rows, (1,) * rows.shape[0])


def _scaled(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Return each channel of `x` times its weight."""
    # In lax, not by broadcasting as in NumPy, which takes twice as long to trace.
    return lax.mul(x, lax.broadcast_in_dim(weights, x.shape, (3, 4)))


def _spread(x: jax.Array, groups: int, copies: int) -> list[jax.Array]:
    """Return for each channel of a group an array with that channel of all groups, repeated."""
    if x.shape[-1] == groups and copies == 1:
        return [x]
    grouped = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    return [jnp.repeat(grouped[..., i], copies, axis=-1) for i in range(grouped.shape[-1])]


def transposed(kernel: jax.Array, groups: int) -> jax.Array:
    """Return the kernel with the channels of input and output exchanged in each group."""
    *window, inputs, outputs = kernel.shape
    kernel = kernel.reshape(*window, inputs, groups, outputs // groups)
    return jnp.moveaxis(kernel, -1, 2).swapaxes(3, 4).reshape(*window, outputs // groups, -1)
