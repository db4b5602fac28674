"""The report as a page: the table, both programs side by side, and a plot of the errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from flaxblocks._base import page
from flaxblocks._base.replacing import save_figure
from parity.checks.tolerance import bound
from parity.report.rows import Report, label
from parity.report.table import print_reports
from parity.report.track import STYLE, track

SMALLEST = 1e-17  # an error of 0 has no place on a logarithmic axis; it is drawn here
SERIES = (
    ("float32", "float32: JAX against float64", "o-"),
    ("torch float32", "float32: PyTorch against float64", "s--"),
    ("float64", "float64: JAX against PyTorch", "^-"),
)


def write_page(reports: Sequence[Report], folder: Path, facts: dict[str, Any]) -> Path:
    """Write ``index.html`` and one plot for each module into the folder.

    Args:
        reports: what was compared.
        folder: made where it is absent.
        facts: how they were made: versions, the command.

    Returns:
        The page's path.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def print_table(console: Console) -> None:
        print_reports(reports, console)

    plots = [
        (_plot(report, folder), f"errors of {report.name} by layer")
        for report in reports
        if report.layers
    ]
    tracks = f"<style>{STYLE}</style>{''.join(track(report) for report in reports)}"
    return page.write_page(
        folder, "Parity with PyTorch", facts, print_table, plots, sections=tracks
    )


def _plot(report: Report, folder: Path) -> Path:
    layers = list(report.layers)
    figure = Figure((9, 3.5 + 0.02 * len(layers)), layout="constrained")
    axes = figure.subplots()
    for series, text, mark in SERIES:
        values = [max(report.layers[layer][series], SMALLEST) for layer in layers]
        axes.plot(range(len(layers)), values, mark, label=text, markersize=5)
    limit = bound("float64", "output")
    axes.axhline(limit, color="grey", linewidth=0.8, linestyle=":")
    axes.text(0, 1.3 * limit, "float64 bound", color="grey", fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("error / scale")
    axes.set_xticks(range(len(layers)), [label(p) for p in layers], rotation=40, ha="right")
    axes.set_title(f"{report.name}: {'equal' if report.ok else 'DIFFERENT'}")
    axes.legend(fontsize=8)
    path = folder / f"{report.name.replace('/', '-')}.png"
    save_figure(figure, path, dpi=110)
    return path
