# pyright: reportUnknownMemberType=false
"""The report as a page: the table, both programs side by side, and a plot of the errors."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from flaxblocks._base import page
from flaxblocks._base.figure import WIDTH, as_svg
from parity.checks.tolerance import bound
from parity.report.rows import Report, label
from parity.report.table import print_reports
from parity.report.track import STYLE, track

SMALLEST = 1e-17  # an error of 0 has no place on a logarithmic axis; it is drawn here
NAMED = 60  # layers whose names fit beside the plot
SERIES = (
    ("float32", "float32: JAX against float64", "o-"),
    ("torch float32", "float32: PyTorch against float64", "s--"),
    ("float64", "float64: JAX against PyTorch", "^-"),
)


def write_page(reports: Sequence[Report], folder: Path, facts: dict[str, Any]) -> Path:
    """Write ``index.html``, with a plot for each module, into the folder.

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
        print_reports(reports, console, details=False)  # they stand with the tracks

    plots = [
        (as_svg(_plot(report), text), text)
        for report in reports
        if report.layers and (text := f"errors of {report.name} by layer")
    ]
    first = sorted(reports, key=lambda report: report.ok)  # what differs
    tracks = f"<style>{STYLE}</style>{''.join(map(track, first))}"
    return page.write_page(
        folder, "Parity with PyTorch", facts, print_table, plots, sections=tracks
    )


def _plot(report: Report) -> Figure:
    layers = list(report.layers)
    shown = range(0, len(layers), ceil(len(layers) / NAMED))
    figure = Figure((WIDTH, 2 + 0.17 * min(len(layers), NAMED)), layout="constrained")
    axes = figure.subplots()
    for series, text, mark in SERIES:
        values = [max(report.layers[layer][series], SMALLEST) for layer in layers]
        axes.plot(values, range(len(layers)), mark, label=text, markersize=4)
    axes.axvline(bound("float64", "output"), color="grey", linestyle=":", label="float64's bound")
    axes.set_yticks(shown, [label(layers[i]) for i in shown], fontsize=9)
    axes.invert_yaxis()  # in the order of the data
    axes.set(xscale="log", xlabel="error, as a fraction of the layer's scale", ylabel="layer")
    axes.set_title(f"{report.name}: {'equal' if report.ok else 'DIFFERENT'}")
    figure.legend(loc="outside lower center", fontsize=9, framealpha=0)
    return figure
