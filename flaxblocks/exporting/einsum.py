"""A product of two arrays as the equation that other libraries have for it."""

from string import ascii_lowercase
from typing import Any


def equation(dimension_numbers: Any, rank: int, other: int) -> str:
    """Return what JAX's ``dot_general`` of arrays of two ranks is in Einstein's notation.

    >>> equation((((2,), (1,)), ((0,), (0,))), 3, 3)
    'abc,acd->abd'
    """
    (axes, other_axes), (batch, other_batch) = dimension_numbers
    shared = dict(zip((*other_batch, *other_axes), (*batch, *axes), strict=True))
    first = ascii_lowercase[:rank]
    free = iter(ascii_lowercase[rank:])
    second = "".join(first[shared[axis]] if axis in shared else next(free) for axis in range(other))
    kept = [first[axis] for axis in batch]
    kept += [first[axis] for axis in range(rank) if axis not in (*batch, *axes)]
    kept += [second[axis] for axis in range(other) if axis not in shared]
    return f"{first},{second}->{''.join(kept)}"
