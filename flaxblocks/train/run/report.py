"""A run as a page: what it was made with, its evaluations, and its curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from flaxblocks._base.figure import as_svg
from flaxblocks._base.page import write_page
from flaxblocks.train.run.json_log import EVALUATION, Record
from flaxblocks.train.run.plot import curves

WIDTH = 80  # characters of the table


def write_report(folder: Path, records: Sequence[Record], facts: Mapping[str, Any]) -> Path:
    """Write ``index.html`` into a run's folder and return its path.

    Args:
        folder: the run's.
        records: its log, see `read_log`.
        facts: how it was made.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if it cannot be written.
    """
    evaluations = [
        {name.removeprefix(EVALUATION): value for name, value in record.items()}
        for record in records
        if any(name.startswith(EVALUATION) for name in record)
    ]

    def print_table(console: Console) -> None:
        console.print(_table(evaluations) if evaluations else "It was not evaluated.")

    text = "loss and accuracy over the steps"
    plots = [(as_svg(curves(records, across=False), text), text)]
    return write_page(folder, f"Training: {folder.name}", facts, print_table, plots, width=WIDTH)


def _table(evaluations: Sequence[Record]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="Evaluations", title_justify="left")
    names = list(dict.fromkeys(name for record in evaluations for name in record))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for record in evaluations:
        table.add_row(*(_cell(record.get(name)) for name in names))
    return table


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
