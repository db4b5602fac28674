"""The results as a page: the tables, and the plots."""

from pathlib import Path

from rich.console import Console

from flaxblocks._base import page
from flaxblocks._base.replacing import save_figure
from flaxblocks.bench.report import plots
from flaxblocks.bench.report.results import Results
from flaxblocks.bench.report.scaling import growths
from flaxblocks.bench.report.table import print_results


def write_page(results: Results, folder: Path) -> Path:
    """Write ``index.html`` and the plots into the folder.

    Args:
        results: what was measured.
        folder: made where it is absent.

    Returns:
        The page's path.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if results.rows:
        drawn += [("roofline", plots.roofline(results)), ("times", plots.bars(results))]
    if growths(results.rows):
        drawn += [("scaling", plots.scaling(results))]
    figures = []
    for name, figure in drawn:
        path = folder / f"{name}.png"
        save_figure(figure, path, dpi=110)
        figures.append((path, name))

    def print_table(console: Console) -> None:
        print_results(results, console)

    return page.write_page(folder, "Benchmark", results.facts, print_table, figures, width=120)
