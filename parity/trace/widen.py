"""Programs that are written for float32, in float64."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from parity.trace.jax_program import JaxProgram


def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which keeps in float64 what it would round to float32.

    Its constants, which float32 rounded too, are taken for the plain numbers that they stand for.
    Where no argument is in float64, nothing changes.
    """

    def run(*arguments: Any) -> Any:
        if not any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(arguments)):
            return function(*arguments)
        shapes = jax.tree.map(_narrow, arguments)
        return JaxProgram.of(function, *shapes).widened(arguments)

    return run


def _narrow(leaf: Any) -> jax.ShapeDtypeStruct:
    dtype = jnp.float32 if leaf.dtype == jnp.float64 else leaf.dtype
    return jax.ShapeDtypeStruct(leaf.shape, dtype)
