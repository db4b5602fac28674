"""The report as a page: a self-contained HTML file, and the plots as PNG files beside it."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from rich.console import Console

from parity.report.rows import Report, label
from parity.report.table import print_reports

WIDTH = 150  # of the table, in characters
SMALLEST = 1e-17  # an error of 0 has no place on a logarithmic axis; it is drawn here

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
pre { font: 13px/1.35 ui-monospace, monospace; overflow-x: auto }
figure { margin: 2rem 0 } img { max-width: 100% } dt { font-weight: 600 }
"""


def write_page(reports: Sequence[Report], folder: Path, facts: dict[str, Any]) -> Path:
    """Write ``index.html`` and one plot a module into the folder.

    Args:
        reports: what was compared.
        folder: made where it is absent.
        facts: what else to tell: versions, the command.

    Returns:
        The page's path.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = [_figure(report, folder) for report in reports if report.layers]
    page = folder / "index.html"
    page.write_text(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>Parity with PyTorch</title><style>{STYLE}</style></head><body>"
        f"<h1>Parity with PyTorch</h1>{_facts(facts)}{_table(reports)}"
        f"<h2>Errors from layer to layer</h2>{''.join(figures)}</body></html>\n",
        encoding="utf-8",
    )
    return page


def _facts(facts: dict[str, Any]) -> str:
    items = (
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(_text(value))}</dd>"
        for name, value in facts.items()
    )
    return f"<dl>{''.join(items)}</dl>"


def _text(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value


def _table(reports: Sequence[Report]) -> str:
    console = Console(file=io.StringIO(), record=True, width=WIDTH)
    print_reports(reports, console)
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _figure(report: Report, folder: Path) -> str:
    path = folder / f"{report.name.replace('/', '-')}.png"
    _plot(report, path)
    data = base64.b64encode(path.read_bytes()).decode()
    name = html.escape(report.name)
    return (
        f"<figure><img alt='errors of {name} by layer' src='data:image/png;base64,{data}'></figure>"
    )


def _plot(report: Report, path: Path) -> None:
    layers = list(report.layers)
    figure, axes = plt.subplots(figsize=(9, 3.5 + 0.02 * len(layers)), layout="constrained")
    for series, text, mark in (
        ("float32", "float32: Flax against float64", "o-"),
        ("torch float32", "float32: PyTorch against float64", "s--"),
        ("float64", "float64: Flax against PyTorch", "^-"),
    ):
        values = [max(report.layers[layer][series], SMALLEST) for layer in layers]
        axes.plot(range(len(layers)), values, mark, label=text, markersize=5)
    axes.axhline(1e-10, color="grey", linewidth=0.8, linestyle=":")
    axes.text(0, 1.3e-10, "float64 bound", color="grey", fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("error / scale")
    axes.set_xticks(range(len(layers)), [label(p) for p in layers], rotation=40, ha="right")
    axes.set_title(f"{report.name}: {'equal' if report.ok else 'DIFFERENT'}")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
