"""The log of a run as JSON lines."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flaxblocks._base.replacing import write_text

Record = Mapping[str, Any]
"""A ``step``, and numbers and texts by name."""

EVALUATION = "evaluation_"
"""Before the names of an evaluation's numbers."""


class JsonLines:
    """Appends records to a file.

    Records of steps after the one that a run is resumed from are dropped, so that each step is
    there once, however often the run was interrupted.

    Args:
        path: the file.
        step: the step that the run is resumed from, 0 for a new run.

    Raises:
        OSError: if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], step: int = 0):
        self.path = Path(path)
        kept = [line for line in read_log(self.path) if line["step"] <= step]
        write_text(self.path, "".join(map(_line, kept)))

    def __call__(self, record: Record) -> None:
        """Append a record.

        Raises:
            OSError: if it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))
        except OSError as error:
            raise OSError(f"the log {self.path} cannot be written: {error.strerror}") from error


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the records of a log; none where there is no file.

    A line that was being written when the process was killed is left out.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return list(_parsed(lines))


def last_evaluation(log: Sequence[Record]) -> dict[str, float]:
    """Return the numbers of a log's last evaluation by name, none where there was none."""
    evaluations = filter(None, map(evaluation_of, reversed(log)))
    return next(evaluations, dict[str, float]())


def evaluation_at(log: Sequence[Record], step: int) -> dict[str, float]:
    """Return the numbers of the evaluation after a step by name, none where there was none."""
    return last_evaluation([record for record in log if record["step"] == step])


def evaluation_of(record: Record) -> dict[str, float]:
    """Return the numbers of an evaluation by name, none for a record of something else."""
    return {
        name.removeprefix(EVALUATION): value
        for name, value in record.items()
        if name.startswith(EVALUATION)
    }


def _parsed(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _line(record: Record) -> str:
    return json.dumps(dict(record)) + "\n"
