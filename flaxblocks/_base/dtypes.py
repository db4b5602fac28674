"""Dtypes to compute in."""

import jax
import numpy as np
from jax.typing import DTypeLike


def at_least_float32(dtype: DTypeLike) -> np.dtype:
    """Return float32 in place of narrower dtypes, in which sums would lose what they add."""
    # Not JAX's promote_types: to it Python's own `float` is weaker than float32, and in strict
    # mode it refuses to promote at all.
    return np.promote_types(jax.dtypes.canonicalize_dtype(dtype), np.float32)
