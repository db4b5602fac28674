"""Losses of precision: roundings that JAX's program makes, and ones that only float32 shows."""

from parity.trace.jax_program import JaxProgram

SHOWN = 3


def rounding(program: JaxProgram) -> str:
    """Return a clause on where JAX's program rounds to narrower numbers."""
    dtypes = list(dict.fromkeys(dtype for _, dtype in program.lowered))
    lines = list(dict.fromkeys(line for line, _ in program.lowered if line))
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    where = f" at {', '.join(lines[:SHOWN])}{more}" if lines else ""
    return f"reduced matmul precision: JAX rounds to {' and '.join(dtypes)}{where}"
