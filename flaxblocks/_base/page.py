"""A report as a page: one self-contained HTML file, and its plots as PNG files beside it."""

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from flaxblocks._base.replacing import write_text

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 85rem; padding: 0 1rem }
pre { font: 13px/1.35 ui-monospace, monospace; overflow-x: auto }
figure { margin: 2rem 0 } img { max-width: 100% } dt { font-weight: 600 }
:root { color-scheme: light dark }
"""


def write_page(
    folder: Path,
    title: str,
    facts: Mapping[str, Any],
    print_table: Callable[[Console], None],
    plots: Sequence[tuple[Path, str]],
    width: int = 150,
    sections: str = "",
) -> Path:
    """Write ``index.html`` into a folder and return its path.

    Args:
        folder: exists already.
        title: of the page.
        facts: how the report was made: versions, the command.
        print_table: prints the tables to a terminal.
        plots: PNG files, each with a description.
        width: of that terminal, in characters.
        sections: more of the page, in HTML, before the plots.
    """
    console = Console(file=io.StringIO(), record=True, width=width)
    print_table(console)
    table = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    items = (f"<dt>{_escaped(name)}</dt><dd>{_escaped(facts[name])}</dd>" for name in facts)
    page = folder / "index.html"
    write_text(
        page,
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_escaped(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{_escaped(title)}</h1><dl>{''.join(items)}</dl>{table}{sections}"
        f"{''.join(_figure(path, text) for path, text in plots)}</body></html>\n",
    )
    return page


def _escaped(value: Any) -> str:
    if isinstance(value, Mapping):
        entries = cast(Mapping[Any, Any], value).items()
        value = ", ".join(f"{name} {entry}" for name, entry in entries) or "none"
    return html.escape(str(value))


def _figure(path: Path, text: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<figure><img alt='{_escaped(text)}' src='data:image/png;base64,{data}'></figure>"
