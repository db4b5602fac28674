"""How time and memory grow with the batch and with the image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flaxblocks.bench.report.results import Row

LEAST = 3  # points that make a line

FIXED: dict[str, Callable[[Row], str]] = {
    "batch": lambda row: f"{row.size} pixels",
    "size": lambda row: f"batch {row.batch}",
}
"""What stays as it is while the batch or the size grows, in words."""

Common = tuple[str, str, str, str]
"""Subject, mode, contestant, and what else rows have in common, in words."""


@dataclass(frozen=True)
class Growth:
    """A power law, fitted on logarithmic axes to what was measured."""

    subject: str  # the module's name
    mode: str  # see `Task`
    contestant: str  # who ran it
    fixed: str  # what stayed as it was, in words
    by: str  # what grew, ``"batch"`` or ``"size"``
    values: tuple[int, ...]  # what it was
    time: float  # the exponent of the time
    memory: float | None  # the exponent of the peak memory; None where it was not measured

    def __str__(self) -> str:
        """Return it as a sentence."""
        memory = "" if self.memory is None else f", memory as {self.by}^{self.memory:.2f}"
        return (
            f"{self.subject}, {self.mode}, {self.contestant}, {self.fixed}: from {self.by} "
            f"{self.values[0]} to {self.values[-1]} time grows as {self.by}^{self.time:.2f}{memory}"
        )


def growths(rows: Sequence[Row]) -> list[Growth]:
    """Return the growth of everything that was measured at `LEAST` batches or sizes."""
    return [
        _growth(common, group, by) for by in FIXED for common, group in series(rows, by).items()
    ]


def series(rows: Sequence[Row], by: str) -> dict[Common, list[Row]]:
    """Return the rows that differ in `by` only, the smallest first, where there are `LEAST`."""
    found: dict[Common, dict[int, Row]] = {}
    for row in rows:
        common = row.subject, row.mode, row.contestant, FIXED[by](row)
        found.setdefault(common, {})[getattr(row, by)] = row
    return {
        common: [group[key] for key in sorted(group)]
        for common, group in found.items()
        if len(group) >= LEAST
    }


def _growth(common: Common, rows: Sequence[Row], by: str) -> Growth:
    values = tuple(getattr(row, by) for row in rows)
    memory = [row.memory for row in rows if row.memory]
    return Growth(
        *common,
        by=by,
        values=values,
        time=_exponent(values, [row.seconds for row in rows]),
        memory=_exponent(values, memory) if len(memory) == len(rows) else None,
    )


def _exponent(values: Sequence[float], measured: Sequence[float]) -> float:
    slope, _ = np.polyfit(np.log(values), np.log(measured), 1)
    return float(slope)
