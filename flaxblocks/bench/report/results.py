"""The results of a benchmark run, and their JSON file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from flaxblocks._base.replacing import write_text


@dataclass(frozen=True)
class Row:
    """One contestant at one task."""

    subject: str  # the module's name
    mode: str  # ``"infer"`` or ``"train"``, see `Task`
    batch: int  # images
    size: int  # height and width of the input in pixels
    contestant: str  # who ran it
    seconds: float  # the median of all timed calls
    low: float  # the first quartile
    high: float  # the third quartile
    fastest: float  # the least; on a busy machine it moves less than the median
    calls: int  # how many were timed
    compile_seconds: float  # what the compilation took, apart from all that
    # the peak while it ran, in bytes, see `Worker.memory`; None where it is unknown
    memory: int | None
    difference: float  # of its answer from ours, as a fraction of the answer's size
    multiply_adds: int  # of the task, see `cost_of`
    moved: int  # the bytes that the task must read and write at least, see `cost_of`
    # the device's kernels that take most of a run, with their seconds, in mode ``"step"``
    kernels: tuple[tuple[str, float], ...] = ()

    @property
    def task(self) -> tuple[str, str, int, int]:
        """What was done."""
        return self.subject, self.mode, self.batch, self.size

    @property
    def images_per_second(self) -> float:
        """How many images are done in a second."""
        return self.batch / self.seconds

    @property
    def flops(self) -> float:
        """Operations in a second, a multiply-add being two."""
        return 2 * self.multiply_adds / self.seconds

    @property
    def bandwidth(self) -> float:
        """Bytes in a second."""
        return self.moved / self.seconds


@dataclass(frozen=True)
class Ceilings:
    """The machine's ceilings, measured in the same run."""

    flops: float  # operations in a second of a large matrix product
    bandwidth: float  # bytes in a second, read and written, of a large copy
    device: str  # what JAX calls the device
    float32_flops: float | None = None  # of a product in float32, where `flops` is of another dtype


@dataclass(frozen=True)
class Results:
    """A whole run."""

    facts: dict[str, Any]  # versions, processor, threads, date, command
    ceilings: Ceilings  # what the machine does at best
    rows: tuple[Row, ...]  # in the order they were measured
    notes: tuple[str, ...] = ()  # who did not take part, and why
    refused: tuple[str, ...] = field(default=())  # the tasks that were not timed, and why

    def write(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            OSError: if it cannot be written; what was there is unchanged.
        """
        text = json.dumps(asdict(self), indent=1, allow_nan=False)
        write_text(path, text + "\n")


def read(path: Path) -> Results:
    """Read what `Results.write` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Results(
        facts=data["facts"],
        ceilings=Ceilings(**data["ceilings"]),
        rows=tuple(_row(**row) for row in data["rows"]),
        notes=tuple(data["notes"]),
        refused=tuple(data["refused"]),
    )


def _row(kernels: Sequence[Sequence[Any]] = (), **values: Any) -> Row:
    return Row(**values, kernels=tuple((name, seconds) for name, seconds in kernels))


def by_task(rows: Sequence[Row]) -> Iterator[dict[str, Row]]:
    """Yield the rows of each task, by contestant."""
    for _, group in groupby(rows, key=lambda row: row.task):
        yield {row.contestant: row for row in group}
