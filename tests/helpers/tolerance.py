"""The bounds of what is compared with anything but PyTorch, each with its reason.

The bounds of parity itself are in `parity.checks.tolerance`.
"""

BOUNDS = {
    # A few roundings of 2**-24 each, as a fraction of the value's scale.
    ("float32", "output"): 2e-6,
    # A few roundings of 2**-8 each, as a fraction of the value's scale.
    ("bfloat16", "output"): 5e-2,
    # Standard errors: one draw in 16,000 lies further off, and the seeds are fixed.
    ("any", "statistic of a sample"): 4.0,
}


def bound(dtype: str, quantity: str) -> float:
    """Return the limit for a quantity computed in a dtype."""
    return BOUNDS[dtype, quantity]
