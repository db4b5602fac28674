"""Causes as sentences: one for each, with the list of places where it holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parity.trace.operations import LAYOUT
from parity.trace.torch_program import Operation, Program

SHOWN = 3  # places named in full


@dataclass(frozen=True)
class Cause:
    """Something that differs, and where."""

    text: str  # what differs
    places: tuple[str, ...]  # where, in the order of computation
    mode: str  # ``"eval"`` or ``"train"``
    fix: str = ""  # what to do about it
    line: str = ""  # of JAX's code


def place(program: Program, operation: Operation, path: str) -> str:
    """Return what a person calls an operation: its module, and its line where that has several.

    Args:
        program: the run that it belongs to.
        operation: one of its operations.
        path: the module's path, under the name that the report uses.
    """
    name = path or "the whole module"
    beside = [o for o in program.operations if o.path == operation.path and o is not operation]
    alone = all(o.kind in LAYOUT or not _is_float(program, o) for o in beside)
    return name if alone or not operation.line else f"{name} ({operation.line})"


def _is_float(program: Program, operation: Operation) -> bool:
    return any(program.values[slot].is_floating_point() for slot in operation.writes)


def merged(causes: Sequence[Cause]) -> list[Cause]:
    """Return each cause once, with all of its places."""
    found: dict[str, Cause] = {}
    for cause in causes:
        first = found.get(cause.text)
        places = (*(first.places if first else ()), *cause.places)
        kept = first or cause
        found[cause.text] = Cause(cause.text, places, kept.mode, kept.fix, kept.line)
    return list(found.values())


def sentences(causes: Sequence[Cause]) -> Iterator[str]:
    """Yield a sentence for each cause."""
    for i, cause in enumerate(merged(causes)):
        lead = "then" if i else "first divergence"
        line = f" (in JAX {cause.line})" if cause.line else ""
        fix = f"; to mend it: {cause.fix}" if cause.fix else ""
        also = _also(cause.places[1:])
        yield f"{lead} at {cause.places[0]} in {cause.mode} mode: {cause.text}{line}{also}{fix}"


def _also(places: Sequence[str]) -> str:
    if not places:
        return ""
    shown, more = places[:SHOWN], len(places) - SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f", also at {', '.join(shown)}{rest}"
