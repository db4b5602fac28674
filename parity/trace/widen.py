"""Programs that are written for float32, in float64."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from parity.trace.jax_program import JaxProgram

DENOMINATORS = (8, 64, 512)  # the simplest that will do; by chance every number has a large one


def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which keeps in float64 what it would round to float32.

    Its constants, which float32 rounded too, are taken for the plain numbers that they stand for.
    Where no argument is in float64, nothing changes.
    """

    def run(*arguments: Any) -> Any:
        if not any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(arguments)):
            return function(*arguments)
        shapes = jax.tree.map(_narrow, arguments)
        return JaxProgram.of(function, *shapes).widened(arguments, unrounded)

    return run


@cache
def unrounded(value: float) -> float:
    """Return the plain number that is `value` in float32: a decimal, a fraction, or their root.

    >>> unrounded(float(np.float32(0.99))), unrounded(float(np.float32(0.5**0.5))) ** 2
    (0.99, 0.5000000000000001)
    """
    narrow = np.float32(value)
    short = float(str(narrow))
    if len(str(narrow).strip("-0.").replace(".", "")) <= 6 or not np.isfinite(narrow):
        return short
    for largest, (power, unit) in product(DENOMINATORS, ((1, 1.0), (2, 1.0), (2, np.pi))):
        fraction = Fraction(abs(value) ** power * unit).limit_denominator(largest)
        near = float(np.copysign((float(fraction) / unit) ** (1 / power), value))
        if np.float32(near) == narrow:
            return near
    return value


def _narrow(leaf: Any) -> jax.ShapeDtypeStruct:
    dtype = jnp.float32 if leaf.dtype == jnp.float64 else leaf.dtype
    return jax.ShapeDtypeStruct(leaf.shape, dtype)
