"""A strided convolution of few channels as one of stride 1 over blocks of pixels.

An image of 3 channels leaves most of a matrix unit idle. With the pixels of each block of
``stride x stride`` as channels, a 7x7 window of stride 2 over 3 channels is a 4x4 window of stride
1 over 12, a quarter of the steps with four times the products each.
"""

import jax
import jax.numpy as jnp
from jax import lax

from flaxblocks.ops.conv import xla
from flaxblocks.ops.conv.geometry import Geometry, Pair
from flaxblocks.ops.conv.roles import by_role


def convolve(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Return the convolution of NHWC with HWIO, without groups or dilation."""
    window = _ceil(geometry.window, geometry.strides)  # in blocks
    sides = [
        (low, (count - 1 + taps) * step - size - low, 0)
        for count, step, taps, size, (low, _) in zip(
            geometry.output,
            geometry.strides,
            window,
            geometry.image,
            geometry.padding,
            strict=True,
        )
    ]
    x = _pad(x, sides, first=1)
    taps = [
        (0, blocks * step - size, 0)
        for blocks, step, size in zip(window, geometry.strides, geometry.window, strict=True)
    ]
    kernel = _pad(kernel, taps, first=0)
    x = _blocks_to_channels(x, geometry.strides, first=1)
    kernel = _blocks_to_channels(kernel, geometry.strides, first=0)
    blocks = Geometry((x.shape[1], x.shape[2]), window, (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    return xla.convolve(x, kernel, blocks, precision)


BY_ROLE = by_role(convolve)


def _ceil(sizes: Pair, steps: Pair) -> Pair:
    rows, columns = (-(-size // step) for size, step in zip(sizes, steps, strict=True))
    return rows, columns


def _pad(x: jax.Array, sides: list[tuple[int, int, int]], first: int) -> jax.Array:
    every = [(0, 0, 0)] * x.ndim
    every[first : first + 2] = sides
    return lax.pad(x, jnp.zeros((), x.dtype), every)


def _blocks_to_channels(x: jax.Array, steps: Pair, first: int) -> jax.Array:
    """Return the pixels of each block of ``steps`` as channels; `first` is the axis of the rows."""
    before, (height, width, channels), after = (
        x.shape[:first],
        x.shape[first : first + 3],
        x.shape[first + 3 :],
    )
    rows, columns = steps
    x = x.reshape(*before, height // rows, rows, width // columns, columns, channels, *after)
    axes = [first, first + 2, first + 1, first + 3, first + 4]
    x = x.transpose(*range(first), *axes, *range(first + 5, x.ndim))
    return x.reshape(*before, height // rows, width // columns, rows * columns * channels, *after)
