"""A report as a page: one self-contained HTML file, readable on a telephone and in the dark."""

import html
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from flaxblocks._base.replacing import write_text

STYLE = """
:root { color-scheme: light dark; --soft: #8886 }
:root { --red: light-dark(#c62828, #ff7b72); --green: light-dark(#1b7f3b, #4cc36e) }
:root { --gray: light-dark(#6b6b6b, #9a9a9a) }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 80rem; padding: 0 1rem }
h1, h2, dd { overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: minmax(5rem, max-content) 1fr; gap: .2rem 1rem }
dt { font-weight: 600 } dd { margin: 0 }
@media (max-width: 40rem) { dl { display: block } dd { margin: 0 0 .5rem } }
pre { font: 13px/1.35 ui-monospace, monospace; margin: 0; width: max-content }
.scrolls { overflow-x: auto; border: 1px solid var(--soft); border-radius: 6px; padding: .5rem }
.hint { display: none; margin: 1rem 0 .2rem; font-size: 13px; opacity: .75 }
@media (max-width: WIDTHpx) { .hint { display: block } }
figure { margin: 2rem 0; overflow-x: auto } figcaption { font-size: 13px; opacity: .75 }
figure svg { width: 100%; height: auto; max-width: 36rem; color: inherit }
figure svg text { fill: currentColor }
"""

# What tables are printed in: black, red, green and gray.
COLORS = [(0, 0, 0), (214, 57, 57), (38, 140, 73), *[(128, 128, 128)] * 5]
THEME = TerminalTheme((255, 255, 255), (0, 0, 0), COLORS)
# The page's own of them, readable on white and on black; #7f7f7f is what is dim.
READABLE = {"#d63939": "red", "#268c49": "green", "#808080": "gray", "#7f7f7f": "gray"}
CHARACTER, MARGINS = 7.9, 60  # pixels of one in a table, and of what is beside the table


def write_page(
    folder: Path,
    title: str,
    facts: Mapping[str, Any],
    print_table: Callable[[Console], None],
    plots: Sequence[tuple[str, str]] = (),
    width: int = 150,
    sections: str = "",
) -> Path:
    """Write ``index.html`` into a folder and return its path.

    Args:
        folder: exists already.
        title: of the page.
        facts: how the report was made: versions, the command.
        print_table: prints the tables to a terminal.
        plots: SVG elements, each with a description, see `flaxblocks._base.figure.as_svg`.
        width: of that terminal, in characters.
        sections: more of the page, in HTML, before the plots.
    """
    console = Console(file=io.StringIO(), record=True, width=width)
    print_table(console)
    lines = console.export_text(clear=False).splitlines()
    table = console.export_html(theme=THEME, inline_styles=True, code_format="<pre>{code}</pre>")
    for color, name in READABLE.items():
        table = table.replace(f"color: {color}", f"color: var(--{name})")
    items = (f"<dt>{_escaped(name)}</dt><dd>{_escaped(facts[name])}</dd>" for name in facts)
    needed = CHARACTER * max(len(line.rstrip()) for line in lines) + MARGINS
    style = STYLE.replace("WIDTH", f"{needed:.0f}")
    page = folder / "index.html"
    write_text(
        page,
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_escaped(title)}</title><style>{style}</style></head><body>"
        f"<h1>{_escaped(title)}</h1><dl>{''.join(items)}</dl>"
        "<p class='hint'>The table is wider than the screen: it scrolls sideways →</p>"
        f"<div class='scrolls' tabindex='0' role='region' aria-label='Table'>{table}</div>"
        f"{sections}{''.join(_figure(svg, text) for svg, text in plots)}</body></html>\n",
    )
    return page


def _escaped(value: Any) -> str:
    if isinstance(value, Mapping):
        entries = cast(Mapping[Any, Any], value).items()
        value = ", ".join(f"{name} {entry}" for name, entry in entries) or "none"
    return html.escape(str(value))


def _figure(svg: str, text: str) -> str:
    return f"<figure>{svg}<figcaption>{_escaped(text)}</figcaption></figure>"
