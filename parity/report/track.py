"""Two programs side by side along the data: how far each layer's outputs are apart, as a color."""

from collections.abc import Iterator
from html import escape
from math import log10

from parity.report.rows import WHOLE, Report, Row

STYLE = """
.track { list-style: none; padding: 0; max-width: 60rem }
.track summary { display: grid; grid-template-columns: .8rem 1fr 1fr; gap: .6rem; padding: .15rem }
.track summary { overflow-wrap: anywhere; cursor: pointer }
.track i { border-radius: 3px }
.track p { margin: .2rem 0 .6rem 1.4rem }
"""
BEST, WORST = -16.0, -4.0  # powers of ten of the errors that are all green and all red
GREEN = 130  # degrees of hue; red is at 0
_END = " (eval, input 0)"


def track(report: Report) -> str:
    """Return a report's layers as a list in HTML, each with its numbers behind a click.

    Empty where outputs were not compared in float64.
    """
    layers = list(_layers(report))
    if not layers:
        return ""
    causes = "".join(f"<p>{escape(cause)}</p>" for cause in report.causes)
    theirs = _their_names(report)
    items = "".join(_item(theirs.get(path, ""), path, row) for path, row in layers)
    head = "<li><details><summary><i></i><b>PyTorch</b><b>JAX</b></summary></details></li>"
    return f"<h2>{escape(report.name)}</h2>{causes}<ol class='track'>{head}{items}</ol>"


def _their_names(report: Report) -> dict[str, str]:
    """Return the PyTorch names of our modules: of those with tensors, and of what holds them.

    Two hold the same where the names below them are the same.
    """
    names = {WHOLE: WHOLE}
    for their_tensor, our_tensor in report.names.items():
        if not isinstance(our_tensor, str):
            continue
        ours, theirs = _owner(our_tensor), _owner(their_tensor)
        names[ours] = theirs
        while _last(ours) == _last(theirs) and ours:
            ours, theirs = _owner(ours), _owner(theirs)
            names.setdefault(ours, theirs)
    return names


def _layers(report: Report) -> Iterator[tuple[str, Row]]:
    for row in report.of("float64"):
        if row.quantity.endswith(_END):
            yield row.quantity.removesuffix(_END), row


def _item(theirs: str, ours: str, row: Row) -> str:
    color = f"hsl({_hue(row.value):.0f} 70% 45%)"
    names = f"<span>{escape(theirs)}</span><span>{escape(ours)}</span>"
    detail = f"; {row.detail}" if row.detail else ""
    numbers = f"off by {row.value:.1e} of the layer's scale, at most {row.limit:.1e}{detail}"
    return (
        f"<li><details><summary><i style='background:{color}'></i>{names}</summary>"
        f"<p>{escape(numbers)}</p></details></li>"
    )


def _hue(error: float) -> float:
    power = min(max(log10(error), BEST), WORST) if error else BEST
    return GREEN * (WORST - power) / (WORST - BEST)


def _owner(name: str) -> str:
    return name.partition("[")[0].rpartition(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]
