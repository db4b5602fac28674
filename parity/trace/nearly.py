"""Equality of numbers that are computed twice.

The gradient of `jnp.max` asks which number the maximum is. XLA may compute these again for that,
and where it multiplies and adds in one rounding in place of two, none is.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from flaxblocks._base.jax_internals import Literal
from parity.checks.tolerance import bound


def nearly_equal(equation: Any, inputs: Sequence[Any]) -> list[jax.Array] | None:
    """Return where float64 numbers are equal but for rounding; None of another equation.

    A constant is no number that is computed twice: what is near to 0 is not 0.
    """
    if equation.primitive.name != "eq" or jnp.result_type(*inputs) != jnp.float64:
        return None
    if any(isinstance(atom, Literal) for atom in equation.invars):
        return None
    first, second = inputs
    size = jnp.abs(first)
    scale = jnp.where(jnp.isfinite(size), size, 0).max(initial=0)
    near = jnp.abs(first - second) <= bound("float64", "recomputed") * scale
    return [near | (first == second)]
