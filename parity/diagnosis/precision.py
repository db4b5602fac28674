"""Losses of precision: roundings that JAX's program makes, and ones that only float32 shows."""

import numpy as np

from parity.trace.jax_program import JaxProgram, Value

SHOWN = 3
APART = 1e-12  # of the largest: float64 runs of one program agree better, narrower ones worse


def is_rounded(rounded: Value, exact: Value) -> bool:
    """Return whether a value is another one where its program rounds to narrower numbers."""
    largest = float(np.abs(exact.array).max())
    return not np.abs(rounded.array - exact.array).max() <= APART * largest


def rounding(program: JaxProgram) -> str:
    """Return a clause on where JAX's program rounds to narrower numbers."""
    dtypes = list(dict.fromkeys(dtype for _, dtype in program.lowered))
    lines = list(dict.fromkeys(line for line, _ in program.lowered if line))
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    where = f" at {', '.join(lines[:SHOWN])}{more}" if lines else ""
    return f"reduced matmul precision: JAX rounds to {' and '.join(dtypes)}{where}"
