"""The equations of a jaxpr: the programs within them, and the lines that made them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import flaxblocks
from flaxblocks._base.jax_internals import ClosedJaxpr

INLINED = {
    *("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_lin"),
}
_LIBRARIES = (
    *("site-packages", "dist-packages", str(Path(__file__).parents[1])),
    str(Path(flaxblocks.__file__).parent),
)


def inner_of(equation: Any) -> Any:
    """Return the program that an equation calls, closed, where it is a plain call."""
    if equation.primitive.name not in INLINED:
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        found = equation.params.get(name)
        if found is not None:
            return found if hasattr(found, "consts") else ClosedJaxpr(found, ())
    return None


def equations_of(jaxpr: Any) -> Iterator[Any]:
    """Yield every equation of a program, and of those that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            several = cast(Sequence[Any], value if isinstance(value, tuple | list) else (value,))
            for program in several:
                inner = getattr(program, "jaxpr", program)
                if hasattr(inner, "eqns"):
                    yield from equations_of(inner)


def line_of(equation: Any) -> str:
    """Return the user's line that made the equation."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not any(part in frame.file_name for part in _LIBRARIES):
            return f"{Path(frame.file_name).name}:{frame.line_num}"
    return ""
