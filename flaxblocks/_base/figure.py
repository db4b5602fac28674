"""Figures of matplotlib as parts of a page."""

import html
import io
import re
from typing import Any

from flaxblocks._base.optional import required

SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "flaxblocks"}
WIDTH = 4.6  # inches: of 400 pixels a page leaves it 368, so that no text shrinks


def as_svg(figure: Any, description: str) -> str:
    """Return a figure as an SVG element: as wide as the page lets it be, in the page's colors.

    What is black takes the color of the page's text, and the background is the page's. It is never
    narrower than it was drawn, a pixel for a point, as its text would be too small.

    Args:
        figure: a `matplotlib.figure.Figure`.
        description: what it shows, for those who cannot see it.
    """
    matplotlib = required("matplotlib", "matplotlib", "a plot needs")

    buffer = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue().partition("<svg ")[2]
    svg = re.sub(r' height="[\d.]+pt"', "", svg, count=1)
    svg = re.sub(r' width="([\d.]+)pt"', r' style="min-width: \1px"', svg, count=1)
    svg = svg.replace("#000000", "currentColor")
    return f'<svg role="img" aria-label="{html.escape(description)}" {svg}'
