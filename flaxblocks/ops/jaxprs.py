"""The operations of a traced function."""

from collections.abc import Iterator
from typing import Any, cast

from flaxblocks._base.jax_internals import ClosedJaxpr, Jaxpr, JaxprEqn


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Yield the operations of a traced function and of the functions in it; a loop's body once."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in(equation):
            yield from equations(inner)


def jaxprs_in(equation: JaxprEqn) -> list[Jaxpr]:
    """Return the functions that an operation calls."""
    return [jaxpr for value in equation.params.values() for jaxpr in _jaxprs(value)]


def _jaxprs(value: Any) -> list[Jaxpr]:
    if isinstance(value, tuple | list):
        return [jaxpr for item in cast("tuple[Any, ...]", value) for jaxpr in _jaxprs(item)]
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    return [value] if isinstance(value, Jaxpr) else []
