"""The depthwise convolution in its three roles as a kernel for NVIDIA GPUs.

A thread keeps a tile of outputs, or the gradient of a whole window, in registers, and loads the
next row of the input while it adds up the one before.
"""

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flaxblocks.ops.conv.geometry import Geometry, Pair
from flaxblocks.ops.conv.roles import Role
from flaxblocks.ops.cuda.compiler import ptx
from flaxblocks.ops.cuda.launch import can_launch, launch, numbers

SOURCE = Path(__file__).with_name("depthwise.cu").read_text()
TYPES = {"float32": 0, "bfloat16": 1, "float16": 2}
THREADS = 128
LANES = 32  # pairs of channels next to each other
FILLED = 50_000  # threads that fill a large GPU


class Tile(NamedTuple):
    """What a thread computes."""

    rows: int  # of the output; multiples of `Grid.up`
    columns: int
    blocks: int  # that share a multiprocessor, which limits the registers of a thread


class Grid(NamedTuple):
    """One array at the other's resolution.

    Output ``y`` of an axis meets input ``(y * stride + tap * dilation - low) / up`` where that is
    whole.
    """

    image: Pair
    output: Pair
    window: Pair
    strides: Pair
    dilation: Pair
    low: Pair
    up: Pair


def takes(first: jax.Array, second: jax.Array, role: str, geometry: Geometry) -> bool:
    """Return whether the kernel computes the array that `role` names from the other two."""
    images: Any = second.shape[0] if role == "input" else first.shape[0]
    outputs = first.shape[3] if role == "input" else second.shape[3]
    return (
        outputs == geometry.groups  # as many as inputs
        and outputs % 2 == 0
        and first.dtype.name in TYPES
        and isinstance(images, int)  # symbolic in some exported programs
        and images > 0
        and min(geometry.output) > 0
        and can_launch()
    )


def convolve(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: jax.lax.PrecisionLike
) -> jax.Array:
    """Return the convolution of NHWC with HWIO."""
    return _gather(x, kernel, _grid(geometry))


def input_gradient(
    kernel: jax.Array, g: jax.Array, geometry: Geometry, precision: jax.lax.PrecisionLike
) -> jax.Array:
    """Return the gradient with respect to the input."""
    grid = _grid(geometry)
    reach = [
        dilation * (taps - 1) - low
        for dilation, taps, low in zip(grid.dilation, grid.window, grid.low, strict=True)
    ]
    transposed = grid._replace(
        image=grid.output,
        output=grid.image,
        strides=(1, 1),
        low=(reach[0], reach[1]),
        up=grid.strides,
    )
    return _gather(g, kernel[::-1, ::-1], transposed)


def kernel_gradient(
    x: jax.Array, g: jax.Array, geometry: Geometry, precision: jax.lax.PrecisionLike
) -> jax.Array:
    """Return the gradient with respect to the kernel, the sum of the partial sums of all slots."""
    grid = _grid(geometry)
    tile = _tile(grid, 1)
    threads = FILLED if max(grid.window) <= 5 else 2 * FILLED
    tiles = x.shape[0] * prod(_tiles(grid, tile))
    slots = min(max(threads // (x.shape[3] // 2), 1), tiles)
    partial = jax.ShapeDtypeStruct((slots, *grid.window, 1, x.shape[3]), jnp.float32)
    return _launch(grid, tile, (x, g), partial, slots).sum(0).astype(x.dtype)


BY_ROLE: dict[str, Role] = {
    "output": convolve,
    "input": input_gradient,
    "kernel": kernel_gradient,
}


def _gather(x: jax.Array, kernel: jax.Array, grid: Grid) -> jax.Array:
    """Return at each output the sum over the taps of what meets there."""
    weights = kernel.reshape(-1, x.shape[3]).astype(jnp.float32)
    result = jax.ShapeDtypeStruct((x.shape[0], *grid.output, x.shape[3]), x.dtype)
    return _launch(grid, _tile(grid, 4), (x, weights), result, 0)


def _grid(geometry: Geometry) -> Grid:
    (top, _), (left, _) = geometry.padding
    return Grid(
        geometry.image,
        geometry.output,
        geometry.window,
        geometry.strides,
        geometry.dilation,
        (top, left),
        (1, 1),
    )


def _tile(grid: Grid, blocks: int) -> Tile:
    """Return the tile that was fastest; `blocks` is that of stride 1."""
    if grid.up != (1, 1):
        rows, columns = (-(-size // up) * up for size, up in zip((4, 8), grid.up, strict=True))
        return Tile(rows, columns, 4)
    return Tile(2, 7, blocks) if grid.strides == (1, 1) else Tile(1, 7, 4)


def _tiles(grid: Grid, tile: Tile) -> Pair:
    return -(-grid.output[0] // tile.rows), -(-grid.output[1] // tile.columns)


def _launch(
    grid: Grid,
    tile: Tile,
    operands: tuple[jax.Array, jax.Array],
    result: jax.ShapeDtypeStruct,
    slots: int,
) -> jax.Array:
    """Launch depthwise.cu, for a kernel's gradient where there are slots."""
    x = operands[0]
    pairs = x.shape[3] // 2
    groups = -(-pairs // LANES)
    lanes = -(-pairs // groups)
    tiles = _tiles(grid, tile)
    sizes = (x.shape[0], *grid.image, *grid.output, pairs, lanes, groups, *tiles, slots)
    threads = lanes * groups * (slots or x.shape[0] * prod(tiles))
    return launch(
        "depthwise",
        ptx(SOURCE, _constants(grid, tile, x.dtype, gradient=slots > 0)),
        (*operands, numbers(*sizes)),
        result,
        blocks=-(-threads // THREADS),
        threads=THREADS,
    )


def _constants(
    grid: Grid, tile: Tile, dtype: jnp.dtype, *, gradient: bool
) -> tuple[tuple[str, int], ...]:
    """Return what depthwise.cu takes as given."""
    axes = {
        "TAPS": grid.window,
        "STRIDE": grid.strides,
        "DILATION": grid.dilation,
        "LOW": grid.low,
        "UP": grid.up,
    }
    constants = {
        f"{name}_{axis}": number
        for name, numbers in axes.items()
        for axis, number in zip("HW", numbers, strict=True)
    }
    constants |= {"ROWS": tile.rows, "COLUMNS": tile.columns, "BLOCKS": tile.blocks}
    constants |= {"THREADS": THREADS, "TYPE": TYPES[dtype.name], "GRADIENT": int(gradient)}
    return tuple(constants.items())
