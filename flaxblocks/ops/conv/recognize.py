# pyright: reportUnknownMemberType=false
"""Which calls are the 2-D convolutions that have a faster form."""

import operator
from collections.abc import Iterable, Sequence

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType

from flaxblocks.ops.conv.geometry import Geometry, Pair

NHWC = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
FLOATS = ("float16", "bfloat16", "float32", "float64")


def geometry_of(
    lhs: jax.Array | jax.ShapeDtypeStruct,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None,
    dimension_numbers: lax.ConvGeneralDilatedDimensionNumbers,
    groups: int,
) -> Geometry | None:
    """Return the geometry of a convolution of NHWC with HWIO to NHWC, None for any other call.

    Also None for arguments that `jax.lax` refuses, so that the error message is its own, for empty
    outputs, and for arrays with explicit sharding, whose propagation rules are JAX's.
    """
    if not (_is_nhwc(lhs, rhs, dimension_numbers) and _are_plain_floats(lhs, rhs)):
        return None
    strides, dilation = (
        _pair(window_strides),
        _pair((1, 1) if rhs_dilation is None else rhs_dilation),
    )
    if strides is None or dilation is None or not _channels_fit(lhs, rhs, groups):
        return None
    image, window = (lhs.shape[1], lhs.shape[2]), (rhs.shape[0], rhs.shape[1])
    sides = _sides(image, window, strides, padding, dilation)
    if sides is None:
        return None
    geometry = Geometry(image, window, strides, sides, dilation, groups)
    return geometry if min(geometry.output) > 0 else None


def _is_nhwc(
    lhs: jax.Array | jax.ShapeDtypeStruct,
    rhs: jax.Array,
    numbers: lax.ConvGeneralDilatedDimensionNumbers,
) -> bool:
    if lhs.ndim != 4 or rhs.ndim != 4 or numbers is None:
        return False
    return lax.conv_dimension_numbers(lhs.shape, rhs.shape, numbers) == NHWC


def _are_plain_floats(*arrays: jax.Array | jax.ShapeDtypeStruct) -> bool:
    """Return whether the arrays have one floating dtype and no explicit sharding."""
    types = [jax.typeof(x) for x in arrays]
    meshes = [t.sharding.mesh for t in types]
    return (
        types[0].dtype == types[1].dtype
        and types[0].dtype.name in FLOATS
        and not any(AxisType.Explicit in mesh.axis_types for mesh in meshes)
    )


def _channels_fit(lhs: jax.Array | jax.ShapeDtypeStruct, rhs: jax.Array, groups: int) -> bool:
    sizes = (*lhs.shape[1:], *rhs.shape, groups)
    # A form is chosen by size, which a symbolic dimension of an exported program does not have.
    if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        return False
    return lhs.shape[3] == rhs.shape[2] * groups and rhs.shape[3] % groups == 0


def _pair(numbers: Iterable[int]) -> Pair | None:
    """Return two positive integers, None if they are anything else."""
    try:
        first, second = (operator.index(number) for number in numbers)
    except (TypeError, ValueError):
        return None
    return (first, second) if min(first, second) > 0 else None


def _sides(
    image: Pair, window: Pair, strides: Pair, padding: str | Sequence[Pair], dilation: Pair
) -> tuple[Pair, Pair] | None:
    """Return ``(low, high)`` of both axes, None for a padding that `jax.lax` would refuse."""
    try:
        if isinstance(padding, str):
            reach = [d * (taps - 1) + 1 for d, taps in zip(dilation, window, strict=True)]
            padding = lax.padtype_to_pads(image, reach, strides, padding)
        (top, bottom), (left, right) = padding
        return (
            (operator.index(top), operator.index(bottom)),
            (operator.index(left), operator.index(right)),
        )
    except (TypeError, ValueError, RuntimeError):
        return None
