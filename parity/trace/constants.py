"""Numbers that stand in a program, and were rounded when it was written."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import product

import jax.numpy as jnp
import numpy as np

DIGITS = {"float32": 6, "float16": 3, "bfloat16": 2}
"""How many of a decimal's digits a dtype keeps."""
DENOMINATORS = {"float32": (8, 64, 512), "float16": (8, 64), "bfloat16": (8,)}
"""The simplest that will do; by chance every number has a large one."""
USUAL = (0.044715, 1.702)  # of two approximations of GELU


@cache
def unrounded(value: float, dtype: str = "float32", known: Sequence[float] = ()) -> float:
    """Return the plain number that is `value` in a dtype: a decimal, a fraction, or their root.

    >>> unrounded(float(np.float32(0.99))), unrounded(float(np.float32(0.5**0.5))) ** 2
    (0.99, 0.5000000000000001)
    >>> unrounded(float(jnp.bfloat16(0.001)), "bfloat16")
    0.001

    Args:
        value: the rounded number.
        dtype: what rounded it.
        known: numbers that it is before others, where one is the same in that dtype.
    """
    if dtype not in DIGITS:
        return value
    narrow = jnp.dtype(dtype).type
    usual = (*known, *(1 - x for x in known), *USUAL)
    candidates = (*usual, *_plain(value, dtype)) if np.isfinite(value) and value else ()
    return next((float(x) for x in candidates if narrow(x) == narrow(value)), value)


def _plain(value: float, dtype: str) -> Iterator[float]:
    for digits in range(DIGITS[dtype]):
        yield float(f"{value:.{digits}e}")
    for largest, (power, unit) in product(DENOMINATORS[dtype], ((1, 1.0), (2, 1.0), (2, np.pi))):
        fraction = Fraction(abs(value) ** power * unit).limit_denominator(largest)
        yield float(np.copysign((float(fraction) / unit) ** (1 / power), value))
