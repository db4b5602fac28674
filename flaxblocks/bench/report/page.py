"""The results as a page: a self-contained HTML file, and the plots as PNG files beside it."""

import base64
import html
import io
from pathlib import Path
from typing import Any

from rich.console import Console

from flaxblocks.bench.report import plots
from flaxblocks.bench.report.results import Results
from flaxblocks.bench.report.scaling import growths
from flaxblocks.bench.report.table import print_results

WIDTH = 120  # of the table, in characters

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 85rem; padding: 0 1rem }
pre { font: 13px/1.35 ui-monospace, monospace; overflow-x: auto }
figure { margin: 2rem 0 } img { max-width: 100% } dt { font-weight: 600 }
"""


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
    figures = []
    if results.rows:
        for name, draw in (("roofline", plots.roofline), ("times", plots.bars)):
            draw(results, folder / f"{name}.png")
            figures.append(name)
        if growths(results.rows):
            plots.scaling(results, folder / "scaling.png")
            figures.append("scaling")
    page = folder / "index.html"
    page.write_text(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>flaxblocks: benchmark</title><style>{STYLE}</style></head><body>"
        f"<h1>Benchmark</h1>{_facts(results.facts)}{_table(results)}"
        f"{''.join(_figure(folder / f'{name}.png') for name in figures)}</body></html>\n",
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
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items()) or "nothing set"
    return str(value)


def _table(results: Results) -> str:
    console = Console(file=io.StringIO(), record=True, width=WIDTH)
    print_results(results, console)
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _figure(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<figure><img alt='{path.stem}' src='data:image/png;base64,{data}'></figure>"
