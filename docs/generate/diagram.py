"""A block as a picture: its traced program, drawn as an SVG."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import flaxblocks as fb
from flaxblocks._base.jax_internals import JaxprEqn, Literal
from flaxblocks.layers.printing import describe

WIDTH, HEIGHT = 280, 42  # of a box, in pixels
COLUMN, ROW = WIDTH + 40, HEIGHT + 24  # from one box to the next
MARGIN = 8
STYLE = """
.diagram { font: 13px ui-monospace, monospace; color: #1f2328; max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) { .diagram { color: #d1d7e0 } }
html[data-theme=light] .diagram { color: #1f2328 }
html[data-theme=dark] .diagram { color: #d1d7e0 }
"""


@dataclass(eq=False)
class Step:
    """The operations of one module, or one operation between modules."""

    path: str  # the module's, with dots
    text: str  # what it is
    sources: list["Step"] = field(default_factory=list)  # where its inputs come from
    row: int = 0
    column: int = 0


def diagram(
    module: nnx.Module, shape: tuple[int, ...], notes: Mapping[str, str] | None = None
) -> str:
    """Draw a module in eval mode.

    Args:
        module: its arrays may be known by shape only.
        shape: of its input, ``(n, h, w, c)``.
        notes: what is said beside a module's path, such as an error.
    """
    drawn = steps(module, shape)
    _lay_out(drawn)
    return _svg(drawn, notes or {})


def steps(module: nnx.Module, shape: tuple[int, ...]) -> list[Step]:
    """Return a module's program as steps, in its order; the first is the input."""
    module = nnx.merge(*nnx.split(module))  # the caller's keeps its mode
    module.eval()
    graphdef, state = nnx.split(module)
    module.train()  # of which a description says nothing
    with fb.ops.convolution("lax"):
        jaxpr = jax.make_jaxpr(lambda state, x: nnx.merge(graphdef, state)(x))(
            state, jax.ShapeDtypeStruct(shape, jnp.float32)
        ).jaxpr
    found = [Step("", f"x {shape}")]
    made = {jaxpr.invars[-1]: found[0]}  # the step that makes each array that depends on x
    for equation in jaxpr.eqns:
        inputs = [made[v] for v in equation.invars if not isinstance(v, Literal) and v in made]
        sources = list(dict.fromkeys(inputs))
        if not sources:
            continue
        path, text = _named(module, equation, joins=len(sources) > 1)
        last = found[-1]
        if (last.path, last.text) == (path, text):
            step = last
        else:
            found.append(step := Step(path, text))
        step.sources += [s for s in sources if s is not step and s not in step.sources]
        made |= dict.fromkeys(equation.outvars, step)
    return found


def _named(module: nnx.Module, equation: JaxprEqn, *, joins: bool) -> tuple[str, str]:
    """Return the path of the module that an equation belongs to, and what is done there."""
    path = str(equation.source_info.name_stack).replace("/", ".")
    owners: list[Any] = [module]
    for name in filter(None, path.split(".")):
        owner = owners[-1]
        owners.append(owner[int(name)] if name.isdigit() else getattr(owner, name))
    if joins:
        return path, str(equation.primitive)
    if any(isinstance(child, nnx.Module) for _, child in nnx.iter_children(owners[-1])):
        # Not a layer: what it does itself is to activate.
        return path, _activation(owners[-1])
    act = _activation(owners[-2]) if path.endswith("norm") else ""
    text = re.sub(r", padding=[^,)]*", "", describe(owners[-1]))  # symmetric, as the kernel tells
    return path, text + (act and f", {act}")


def _activation(module: nnx.Module) -> str:
    act = getattr(module, "final_act", None) or getattr(module, "act", None)
    return getattr(act, "__name__", "")


def _lay_out(drawn: Sequence[Step]) -> None:
    """Put each step below its inputs; those on the longest way stand in the first column."""
    for step in drawn:
        step.row = 1 + max((source.row for source in step.sources), default=-1)
        step.column = 1
    step: Step | None = drawn[-1]
    while step is not None:
        step.column = 0
        step = max(step.sources, key=lambda source: source.row, default=None)


def _svg(drawn: Sequence[Step], notes: Mapping[str, str]) -> str:
    skips = any(t.row - s.row > 1 for t in drawn for s in t.sources)
    columns = 2 if any(step.column for step in drawn) else 1
    width = (columns - 1) * COLUMN + WIDTH + (20 if skips and columns == 1 else 0) + 2 * MARGIN
    height = max(step.row for step in drawn) * ROW + HEIGHT + 2 * MARGIN
    lines = "".join(_line(source, step) for step in drawn for source in step.sources)
    last = {step.path: step for step in drawn[1:]}  # whose result is the module's
    boxes = "".join(
        _box(step, notes.get(step.path, "") if last.get(step.path) is step else "")
        for step in drawn
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' class='diagram' role='img' "
        f"viewBox='0 0 {width} {height}' width='{width}'><style>{STYLE}</style>"
        f"<defs><marker id='tip' viewBox='0 0 8 8' refX='8' refY='4' markerWidth='8' "
        f"markerHeight='8' orient='auto'><path d='M0 0L8 4L0 8z' fill='currentColor'/></marker>"
        f"</defs>{lines}{boxes}</svg>"
    )


def _line(source: Step, step: Step) -> str:
    x, y = _middle(source), MARGIN + source.row * ROW + HEIGHT
    x2, y2 = _middle(step), MARGIN + step.row * ROW
    if source.column == step.column and step.row - source.row == 1:
        way = f"M{x} {y}V{y2}"
    elif source.column == step.column:  # past the boxes in between
        side = MARGIN + WIDTH + 12
        way = f"M{x + WIDTH / 2} {y - HEIGHT / 2}H{side}V{y2 + HEIGHT / 2}H{x2 + WIDTH / 2}"
    elif step.column:
        way = f"M{x + WIDTH / 2} {y - HEIGHT / 2}H{x2}V{y2}"
    else:
        way = f"M{x} {y}V{y2 + HEIGHT / 2}H{x2 + WIDTH / 2}"
    return f"<path d='{way}' fill='none' stroke='currentColor' marker-end='url(#tip)'/>"


def _box(step: Step, note: str) -> str:
    x, y = MARGIN + step.column * COLUMN, MARGIN + step.row * ROW
    head = f"{step.path} {note}".strip()
    texts = [head, step.text] if head else [step.text]
    first = y + HEIGHT / 2 + 4 - 9 * (len(texts) - 1)
    rows = "".join(
        f"<text x='{_middle(step)}' y='{first + 18 * i:g}' text-anchor='middle' "
        f"fill='currentColor' fill-opacity='{1 if text == step.text else 0.7}'>"
        f"{escape(text)}</text>"
        for i, text in enumerate(texts)
    )
    return (
        f"<rect x='{x}' y='{y}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='currentColor' "
        f"fill-opacity='.06' stroke='currentColor' stroke-opacity='.5'/>{rows}"
    )


def _middle(step: Step) -> float:
    return MARGIN + step.column * COLUMN + WIDTH / 2
