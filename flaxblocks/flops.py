"""How many products and sums a function takes, counted without running it."""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
from jax.extend.core import JaxprEqn

from flaxblocks.ops import convolution
from flaxblocks.ops.jaxprs import equations

CONTRACTIONS = ("conv_general_dilated", "dot_general")
"""JAX's names of the operations that multiply and add."""


def multiply_adds(function: Callable[..., Any], *arguments: Any) -> int:
    """Return the multiply-adds of a function's convolutions and matrix products.

    It is what papers call FLOPs. Padding counts as pixels do; what is done to single values,
    such as activations and normalisations, does not count. The body of a loop counts once.

    >>> multiply_adds(lambda x: x @ x, jnp.ones((8, 8)))
    512

    Args:
        function: any function that JAX can trace.
        arguments: its arguments, arrays or `jax.ShapeDtypeStruct`.
    """
    with convolution("lax"):
        # A function of its own: JAX remembers the trace of one that it knows.
        jaxpr = jax.make_jaxpr(lambda *args: function(*args))(*arguments).jaxpr
    return sum(map(_of_equation, equations(jaxpr)))


def _of_equation(equation: JaxprEqn) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name not in CONTRACTIONS:
        return 0
    left, right, output = (_shape(v) for v in (*equation.invars, *equation.outvars))
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        return prod(output) * prod(left[axis] for axis in contracted)
    out_axis = parameters["dimension_numbers"].rhs_spec[0]
    return prod(output) * prod(right) // right[out_axis]


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape
