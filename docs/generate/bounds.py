"""The table of tolerances, from the table that the checks use."""

from parity.checks.tolerance import BOUNDS


def bounds_table() -> str:
    """Return the table in Markdown."""
    rows = (
        f"| {dtype} | {quantity} | {bound.limit:g} | {bound.reason} |"
        for (dtype, quantity), bound in BOUNDS.items()
    )
    return "\n".join(["| dtype | quantity | limit | reason |", "|---|---|---|---|", *rows]) + "\n"
