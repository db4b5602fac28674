"""What a run of the benchmark gives, and the file that keeps it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One contestant at one task.

    Args:
        subject: the module's name.
        mode: ``"infer"`` or ``"train"``, see `Task`.
        batch: images.
        size: height and width of the input in pixels.
        contestant: who ran it.
        seconds: the median of all timed calls.
        low: the first quartile.
        high: the third quartile.
        fastest: the least; on a busy machine it moves less than the median.
        calls: how many were timed.
        compile_seconds: what the compilation took, apart from all that.
        memory: the peak while it ran, in bytes, see `Worker.memory`; None where it is unknown.
        difference: of its answer from ours, as a fraction of the answer's size.
        multiply_adds: of the task, see `work.multiply_adds_of`.
        moved: the bytes that the task must move at least, see `work.moved_by`.
    """

    subject: str
    mode: str
    batch: int
    size: int
    contestant: str
    seconds: float
    low: float
    high: float
    fastest: float
    calls: int
    compile_seconds: float
    memory: int | None
    difference: float
    multiply_adds: int
    moved: int

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
    """What the machine does at best, measured in the same run.

    Args:
        flops: operations in a second of a large matrix product.
        bandwidth: bytes in a second, read and written, of a large copy.
        device: what JAX calls the device.
    """

    flops: float
    bandwidth: float
    device: str


@dataclass(frozen=True)
class Results:
    """A whole run.

    Args:
        facts: versions, processor, threads, date, command.
        ceilings: what the machine does at best.
        rows: in the order they were measured.
        notes: who did not take part, and why.
        refused: the tasks that were not timed, and why.
    """

    facts: dict[str, Any]
    ceilings: Ceilings
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = field(default=())

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        text = json.dumps(asdict(self), indent=1, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """Read what `Results.write` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Results(
        facts=data["facts"],
        ceilings=Ceilings(**data["ceilings"]),
        rows=tuple(Row(**row) for row in data["rows"]),
        notes=tuple(data["notes"]),
        refused=tuple(data["refused"]),
    )


def by_task(rows: Sequence[Row]) -> Iterator[dict[str, Row]]:
    """Yield the rows of each task, by contestant."""
    for _, group in groupby(rows, key=lambda row: row.task):
        yield {row.contestant: row for row in group}
