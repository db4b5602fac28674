# pyright: reportUnknownMemberType=false
"""How many products and sums a function takes, counted without running it."""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax

from flaxblocks._base.jax_internals import JaxprEqn
from flaxblocks.ops import convolution
from flaxblocks.ops.jaxprs import equations


class Contraction(NamedTuple):
    """One convolution or matrix product."""

    multiply_adds: int
    numbers: int  # in its operands and its result


def multiply_adds(function: Callable[..., Any], *arguments: Any) -> int:
    """Return the multiply-adds of a function's convolutions and matrix products.

    It is what papers call FLOPs. Padding counts as pixels do; what is done to single values,
    such as activations and normalizations, does not count. The body of a loop counts once.

    >>> multiply_adds(lambda x: x @ x, jnp.ones((8, 8)))
    512

    Args:
        function: any function that JAX can trace.
        arguments: its arguments, arrays or `jax.ShapeDtypeStruct`.
    """
    return sum(one.multiply_adds for one in contractions(function, *arguments))


def contractions(function: Callable[..., Any], *arguments: Any) -> list[Contraction]:
    """Return the function's convolutions and matrix products, as `multiply_adds` counts them."""
    with convolution("lax"):

        def fresh(*arguments: Any) -> Any:  # JAX remembers the trace of a function that it knows
            return function(*arguments)

        jaxpr = jax.make_jaxpr(fresh)(*arguments).jaxpr
    return [
        _contraction(equation)
        for equation in equations(jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]


def _contraction(equation: JaxprEqn) -> Contraction:
    variables: list[Any] = [*equation.invars, *equation.outvars]
    left, right, output = (variable.aval.shape for variable in variables)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        terms = prod(left[axis] for axis in contracted)
    else:
        terms = prod(right) // right[equation.params["dimension_numbers"].rhs_spec[0]]
    return Contraction(prod(output) * terms, prod(left) + prod(right) + prod(output))
