"""The steps of a program, computed by JAX."""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from flaxblocks.exporting.activations import BY_NAME
from flaxblocks.exporting.operation import Operation


def evaluate(operation: Operation, operands: list[Any]) -> list[jax.Array]:
    """Return what a step computes from its operands."""
    computed = FUNCTIONS.get(operation.name)
    if computed is not None:
        return [computed(operation, *operands)]
    assert operation.primitive is not None  # only the steps that FUNCTIONS knows have none
    made = operation.primitive.bind(*operands, **operation.parameters)
    return list(made) if operation.primitive.multiple_results else [made]


def _biased(operation: Operation, x: Any, kernel: Any, *bias: Any) -> jax.Array:
    assert operation.primitive is not None
    product = operation.primitive.bind(x, kernel, **operation.parameters)
    return product + bias[0] if bias else product


def _mean_of_window(operation: Operation, x: Any) -> jax.Array:
    assert operation.primitive is not None
    total = operation.primitive.bind(x, **operation.parameters)
    return total / prod(operation.parameters["window_dimensions"])


def _mean(operation: Operation, x: Any) -> jax.Array:
    return jnp.mean(x, operation.parameters["axes"], keepdims=operation.parameters["keepdims"])


def _softmax(operation: Operation, x: Any) -> jax.Array:
    return jax.nn.softmax(x, operation.parameters["axis"])


def _slice(operation: Operation, x: Any) -> jax.Array:
    given = operation.parameters
    return jax.lax.slice(x, given["start_indices"], given["limit_indices"], given["strides"])


def _squeeze(operation: Operation, x: Any) -> jax.Array:
    return jax.lax.squeeze(x, operation.parameters["dimensions"])


def _relu(_: Operation, x: Any) -> jax.Array:
    return jnp.maximum(x, 0)


def _affine(_: Operation, x: Any, factor: Any, shift: Any) -> jax.Array:
    return x * factor + shift


def _called(function: Callable[..., jax.Array], _: Operation, *operands: Any) -> jax.Array:
    return function(*operands)


FUNCTIONS: dict[str, Callable[..., jax.Array]] = {
    "conv_general_dilated": _biased,
    "dot_general": _biased,
    "reduce_window_mean": _mean_of_window,
    "mean": _mean,
    "softmax": _softmax,
    "slice": _slice,
    "squeeze": _squeeze,
    "relu": _relu,
    "affine": _affine,
    **{name: partial(_called, function) for name, function in BY_NAME.items()},
}
"""What the steps compute that are no primitives, or have more operands than theirs."""
