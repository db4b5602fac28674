"""The results as a page: the tables, and the plots."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from flaxblocks._base import page
from flaxblocks._base.figure import as_svg
from flaxblocks.bench.report import plots
from flaxblocks.bench.report.results import Results
from flaxblocks.bench.report.scaling import growths
from flaxblocks.bench.report.table import print_results


def write_page(results: Results, folder: Path) -> Path:
    """Write ``index.html``, with tables and plots, into the folder.

    Args:
        results: what was measured.
        folder: made where it is absent.

    Returns:
        The page's path.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[tuple[Callable[[Results], Any], str]] = []
    if results.rows:
        drawn += [(plots.roofline, "operations in a second, beside what the machine can do")]
        drawn += [(plots.bars, "the time of every contestant at every task")]
    if growths(results.rows):
        drawn += [(plots.scaling, "how time and memory grow")]

    def print_table(console: Console) -> None:
        print_results(results, console)

    figures = [(as_svg(draw(results), text), text) for draw, text in drawn]
    return page.write_page(folder, "Benchmark", results.facts, print_table, figures)
