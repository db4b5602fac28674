"""The steps of a program that a converter has a rule for each of."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Value:
    """An array that depends on the images: its shape, which may be symbolic, and its dtype."""

    shape: tuple[Any, ...]
    dtype: np.dtype


Operand = Value | np.ndarray


@dataclass(frozen=True)
class Operation:
    """A step of the program.

    Args:
        name: of JAX's primitive, or of an activation.
        operands: values, and arrays that are known.
        parameters: of the primitive.
        results: what it computes.
        layer: where it stands: ``"stages.2/blocks.1/depthwise/conv"``, or a line, ``"net.py:42"``.
        primitive: JAX's, that it came from; None where it was put together of several.
    """

    name: str
    operands: tuple[Operand, ...]
    parameters: dict[str, Any]
    results: tuple[Value, ...]
    layer: str
    primitive: Any | None = None


def taken_axis(operation: Operation) -> int:
    """Return the axis along which a gather takes whole slices at places that are known.

    Raises:
        NotImplementedError: if it takes anything else.
    """
    x, places = operation.operands
    given: Any = operation.parameters
    numbers = given["dimension_numbers"]
    axis, *further = numbers.start_index_map
    whole = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    kept = tuple(other for other in range(len(x.shape)) if other != axis)
    slices = given["slice_sizes"], numbers.collapsed_slice_dims, numbers.offset_dims
    if further or slices != (whole, (axis,), kept):
        raise NotImplementedError
    if not isinstance(places, np.ndarray) or places.shape[1:] != (1,):
        raise NotImplementedError
    if not isinstance(size := x.shape[axis], int) or not set(places.flat) <= set(range(size)):
        raise NotImplementedError
    return axis


def group_count(operation: Operation) -> int:
    """Return the groups of a convolution.

    Raises:
        ValueError: if there are as many as images, and their number is open.
    """
    groups = operation.parameters["feature_group_count"]
    if not isinstance(groups, int):
        raise ValueError(
            "`batch` must be a number of images, got 'dynamic': "
            f"{operation.layer or 'the model itself'} has a kernel for each image"
        )
    return groups


def unsupported(name: str, layer: str) -> ValueError:
    """Return the error for an operation that a format has no rule for."""
    where = layer or "the model itself"
    return ValueError(f"`model` has an operation that cannot be exported: {name} in {where}")
