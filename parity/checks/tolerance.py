"""The tolerances: every bound of the parity checks, with its reason.

A bound is a fraction of the value's scale, unless its reason says otherwise.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A limit and why it stands where it does."""

    limit: float
    reason: str


BOUNDS: dict[tuple[str, str], Bound] = {
    ("float32", "bitwise"): Bound(
        0.0, "every intermediate is exactly representable: any order of summing gives it"
    ),
    ("float64", "output"): Bound(
        1e-10,
        "float64 rounds at 1e-16; sums of thousands of terms stay far below, a fault does not",
    ),
    ("float64", "gradient"): Bound(1e-10, "as the output; one more pass of sums"),
    ("float64", "statistic"): Bound(1e-10, "a mean over the batch, moved by one step"),
    ("float64", "depth"): Bound(
        32.0,
        "times PyTorch's own float32 error and float64's unit over float32's; where the two are "
        "further apart, as far as PyTorch's float64 run moves if each parameter moves by as many "
        "of its last bits: what rounding alone makes of this network, on both sides and with room; "
        "a wrong eps does far more",
    ),
    ("float64", "deepest"): Bound(1e-7, "however badly the network is conditioned"),
    ("float64", "recomputed"): Bound(
        1e-14,
        "where a program asks whether numbers are equal: XLA computes one of them again, and then "
        "may multiply and add in one rounding where it did in two",
    ),
    ("float64", "trajectory"): Bound(
        1e-8,
        "twenty steps of an optimizer, each of which carries the last one's rounding on; up to the "
        "deepest limit where rounded parameters lead PyTorch's own run as far",
    ),
    ("float32", "output"): Bound(
        2.0,
        "times PyTorch's own root-mean-square error against the float64 truth, or times the one "
        "that rounding is expected to make when sums are taken one term after the other: a single "
        "run may be lucky, and which run that is depends on the width of the processor's vectors",
    ),
    ("float32", "floor"): Bound(
        6e-8, "half an ulp of the scale: below it no float32 result can be told from the truth"
    ),
    ("float32", "luck"): Bound(
        3.0,
        "over the root of the number of values: how far, as a part of itself, a root mean square "
        "over so few may stray",
    ),
    ("float32", "sum floor"): Bound(
        6e-8,
        "half an ulp for each term of each sum over positions on the way, adding up like a random "
        "walk, so times the root of their number. A normalization has four such sums, two of them "
        "statistics and two gradients. XLA takes them in float32, PyTorch on CPU in float64",
    ),
}


UNITS = 2.0**-29  # float64's unit in the last place as a part of float32's


def conditioned(quantity: str, narrow_error: float) -> float:
    """Return the float64 limit for a quantity of a network that amplifies rounding.

    Args:
        quantity: what is compared.
        narrow_error: the error of PyTorch's float32 run, as a fraction of the value's scale.
    """
    rounding = bound("float64", "depth") * UNITS * narrow_error
    return max(bound("float64", quantity), min(rounding, bound("float64", "deepest")))


def bound(dtype: str, quantity: str) -> float:
    """Return the limit for a quantity computed in a dtype."""
    return BOUNDS[dtype, quantity].limit
