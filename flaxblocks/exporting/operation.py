"""The steps of a program that a converter has a rule for each of."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flaxblocks._base.jax_internals import Primitive


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
        layer: where it stands: ``"stages.2/blocks.1/depthwise/conv"``.
        primitive: JAX's, that it came from; None where it was put together of several.
    """

    name: str
    operands: tuple[Operand, ...]
    parameters: dict[str, Any]
    results: tuple[Value, ...]
    layer: str
    primitive: Primitive | None = None


def unsupported(name: str, layer: str) -> ValueError:
    """Return the error for an operation that a format has no rule for."""
    where = layer or "the model itself"
    return ValueError(f"`model` has an operation that cannot be exported: {name} in {where}")
