"""Two programs side by side along the data: how far each layer's outputs are apart, as a color."""

from collections.abc import Iterator, Sequence
from html import escape
from math import log10

from parity.report.order import along_the_data
from parity.report.rows import WHOLE, Report, Row, Step

STYLE = """
.track { list-style: none; padding: 0; max-width: 60rem }
.track summary { display: grid; grid-template-columns: 1rem 1fr 1fr; gap: .6rem; padding: .15rem }
.track summary { overflow-wrap: anywhere; cursor: pointer }
.track i { border-radius: 3px; color: #fff; font: 700 .8rem/1.4 sans-serif; text-align: center }
.track small { font-size: .8rem; opacity: .75; display: block }
.track p { margin: .2rem 0 .6rem 1.6rem; overflow-wrap: anywhere }
.track .differs { font-weight: 600 }
.track .operation { font-style: italic }
.checks { list-style: none; padding: 0; font-size: .9rem; overflow-wrap: anywhere }
.track .joined { background: var(--soft) }
"""
LEGEND = (
    "In the order of the data. Green: equal; the redder, the further apart; gray: JAX holds no "
    "such value, as it joins the operation with a later one that agrees; ≠: differs, or a cause is "
    "named there. Operations outside modules are in italics. A click shows the numbers."
)
BEST, WORST = -16.0, -4.0  # powers of ten of the errors that are all green and all red
GREEN = 130  # degrees of hue; red is at 0
_STATES = {
    "equal": "JAX computes the same values",
    "laid out": "lays values out that JAX holds too",
    "joined": "JAX holds no such values: it joins the operation with a later one, which agrees",
    "differs": "nothing that JAX computes equals this",
}


def track(report: Report) -> str:
    """Return what differs, and layers and operations as a list in HTML, numbers behind a click.

    The list is absent where outputs were not compared in float64; all is, where they are equal too.
    """
    items = list(_items(report))
    if report.ok and not items:
        return ""
    title = f"<h2>{escape(report.name)}</h2>"
    causes = "".join(f"<p>{escape(cause)}</p>" for cause in report.causes)
    if not report.ok:
        lines = "".join(f"<li>{escape(line.strip())}</li>" for line in report.lines)
        causes = f"{causes}<ul class='checks'>{lines}</ul>"
    if not items:
        return f"{title}{causes}"
    head = "<li><details><summary><i></i><b>PyTorch</b><b>JAX</b></summary></details></li>"
    legend = f"<p><small>{LEGEND}</small></p>"
    return f"{title}{causes}{legend}<ol class='track'>{head}{''.join(items)}</ol>"


def _items(report: Report) -> Iterator[str]:
    theirs, said = _their_names(report), _sentences(report)
    firsts = {places[0] for places in report.places}
    for entry in along_the_data(report):
        if isinstance(entry, Step):
            sentences = said.get(entry.place, [])
            differs = entry.state == "differs" or bool(sentences)
            yield _operation(entry, sentences, differs, entry.place in firsts)
        else:
            path, row, _ = entry
            sentences = said.get(path, [])
            differs = row.ok is False or bool(sentences)
            yield _layer(theirs.get(path, ""), entry, sentences, differs, path in firsts)


def _sentences(report: Report) -> dict[str, list[str]]:
    """Return what is said of each place."""
    said: dict[str, list[str]] = {}
    for cause, places in zip(report.causes, report.places, strict=False):
        for place in places:
            said.setdefault(place, []).append(cause)
    return said


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
    return {step.ours: step.theirs for step in report.operations} | names


def _layer(
    theirs: str,
    layer: tuple[str, Row, Step | None],
    sentences: Sequence[str],
    differs: bool,
    opened: bool,
) -> str:
    path, row, step = layer
    left, right = (f"<span>{escape(name)}</span>" for name in (theirs, path))
    detail = f"; {row.detail}" if row.detail else ""
    numbers = [f"off by {row.value:.1e} of the layer's scale, at most {row.limit:.1e}{detail}"]
    if step is not None:
        left, right = _named(theirs, step.kind, step.line), _named(path, *_short(step))
        numbers += _beside(step)
    color = f"background:hsl({_hue(row.value):.0f} 70% 38%)"
    kind = "differs" if differs else ""
    return _item(kind, color, (left, right), [*sentences, *numbers], differs, opened)


def _operation(step: Step, sentences: Sequence[str], differs: bool, opened: bool) -> str:
    """Return an operation outside modules, or one of several within a module."""
    left = _named(step.kind, step.theirs, step.line)
    what, line = ("—", "") if step.state == "laid out" else _short(step)
    right = _named(what, step.ours, line)
    numbers = [_STATES[step.state]]
    if step.error is not None:
        numbers = [f"{numbers[0]}, off by {step.error:.1e} of their root mean square"]
    error = {"joined": None, "differs": 1.0}.get(step.state, step.error or 0.0)
    color = "" if error is None else f"background:hsl({_hue(error):.0f} 70% 38%)"
    kind = f"operation {'differs' if differs else ''}"
    lines = [*sentences, *numbers, *_beside(step)]
    return _item(kind, color, (left, right), lines, differs, opened)


def _short(step: Step) -> tuple[str, str]:
    """Return the primitives that compute an operation, the middle ones left out, and the line."""
    if step.state != "equal" or not step.beside:
        return "", ""
    kinds = list(dict.fromkeys(kind for kind, _ in step.beside))
    return (" … " if len(kinds) > 2 else ", ").join(dict.fromkeys((kinds[0], kinds[-1]))), (
        step.beside[-1][1]
    )


def _beside(step: Step) -> list[str]:
    if not step.beside:
        return []
    made = "; ".join(f"{kind}, {line}" if line else kind for kind, line in step.beside)
    return [f"JAX computes it by: {made}" if step.state == "equal" else f"JAX has there: {made}"]


def _named(name: str, *more: str) -> str:
    beside = " · ".join(text for text in more if text)
    return f"<span>{escape(name)}<small>{escape(beside)}</small></span>"


def _item(
    kind: str,
    color: str,
    names: Sequence[str],
    lines: Sequence[str],
    differs: bool,
    opened: bool,
) -> str:
    mark = f"<i style='{color}'>" if color else "<i class='joined'>"
    summary = f"{mark}{'≠' if differs else ''}</i>{''.join(names)}"
    body = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        f"<li><details{' open' if opened else ''}><summary class='{kind.strip()}'>{summary}"
        f"</summary>{body}</details></li>"
    )


def _hue(error: float) -> float:
    power = min(max(log10(error), BEST), WORST) if error else BEST
    return GREEN * (WORST - power) / (WORST - BEST)


def _owner(name: str) -> str:
    return name.partition("[")[0].rpartition(".")[0]


def _last(name: str) -> str:
    return name.rpartition(".")[2]
