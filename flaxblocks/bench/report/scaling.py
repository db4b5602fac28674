"""How time and memory grow with the batch and with the image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flaxblocks.bench.report.results import Row

LEAST = 3  # points that make a line

Common = tuple[str, str, str, str]
"""Subject, mode, contestant, and what else rows have in common, in words."""


@dataclass(frozen=True)
class Growth:
    """A power law, fitted on logarithmic axes to what was measured.

    Args:
        subject: the module's name.
        mode: see `Task`.
        contestant: who ran it.
        fixed: what stayed as it was, in words.
        by: what grew, ``"batch"`` or ``"size"``.
        values: what it was.
        time: the exponent of the time.
        memory: the exponent of the peak memory; None where it was not measured.
    """

    subject: str
    mode: str
    contestant: str
    fixed: str
    by: str
    values: tuple[int, ...]
    time: float
    memory: float | None

    def __str__(self) -> str:
        """Return it as a sentence."""
        memory = "" if self.memory is None else f", memory as {self.by}^{self.memory:.2f}"
        return (
            f"{self.subject}, {self.mode}, {self.contestant}, {self.fixed}: from {self.by} "
            f"{self.values[0]} to {self.values[-1]} time grows as {self.by}^{self.time:.2f}{memory}"
        )


def growths(rows: Sequence[Row]) -> list[Growth]:
    """Return the growth of everything that was measured at `LEAST` batches or sizes."""
    batches = (_growth(common, group, "batch") for common, group in by_batch(rows).items())
    sizes = (_growth(common, group, "size") for common, group in by_size(rows).items())
    return [*batches, *sizes]


def by_batch(rows: Sequence[Row]) -> dict[Common, list[Row]]:
    """Return the rows that differ in the batch only, the smallest first, where there are enough."""
    return _series(rows, lambda row: f"{row.size} pixels", lambda row: row.batch)


def by_size(rows: Sequence[Row]) -> dict[Common, list[Row]]:
    """Return the rows that differ in the size only, the smallest first, where there are enough."""
    return _series(rows, lambda row: f"batch {row.batch}", lambda row: row.size)


def _series(
    rows: Sequence[Row], fixed: Callable[[Row], str], number: Callable[[Row], int]
) -> dict[Common, list[Row]]:
    found: dict[Common, dict[int, Row]] = {}
    for row in rows:
        common = row.subject, row.mode, row.contestant, fixed(row)
        found.setdefault(common, {})[number(row)] = row
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
