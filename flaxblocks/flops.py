"""How many products and sums a function takes, counted without running it."""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from flaxblocks.ops import plain_convolution


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
    with plain_convolution():
        # A function of its own: JAX remembers the trace of one that it knows.
        return _count(jax.make_jaxpr(lambda *args: function(*args))(*arguments).jaxpr)


def _count(jaxpr: Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: JaxprEqn) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name in ("conv_general_dilated", "dot_general"):
        left, right, output = (
            _shape(variable) for variable in (*equation.invars, *equation.outvars)
        )
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            return prod(output) * prod(left[axis] for axis in contracted)
        out_axis = parameters["dimension_numbers"].rhs_spec[0]
        return prod(output) * prod(right) // right[out_axis]
    inner = (jaxpr for value in parameters.values() for jaxpr in _jaxprs(value))
    return sum(map(_count, inner))


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _jaxprs(value: Any) -> list[Jaxpr]:
    if isinstance(value, tuple | list):
        return [jaxpr for item in value for jaxpr in _jaxprs(item)]
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    return [value] if isinstance(value, Jaxpr) else []
