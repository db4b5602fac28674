"""PyTorch's operations in the order of computation, and what JAX computes beside each."""

from collections.abc import Iterator, Sequence

import numpy as np

from parity.diagnosis.agreement import Agreement
from parity.diagnosis.recorded import recorded
from parity.diagnosis.sentences import place
from parity.report.rows import Step
from parity.sides.runs import Runs
from parity.trace.jax_program import Maker, Value
from parity.trace.match import Index, difference, moments
from parity.trace.operations import LAYOUT
from parity.trace.torch_program import Operation, Program

SHOWN = 8  # primitives named where nothing agrees any more
_UNCHANGED = {"contiguous", "clone", "detach", "to", "type", "double", "float", "view_as", "expand"}


def steps(runs: Runs) -> Iterator[Step]:
    """Yield the operations of PyTorch's run in eval mode that depend on the input."""
    both = recorded(runs, training=False)
    program, index = both.program, both.index
    agreement = Agreement.of(program, index)
    found = agreement.found(program.values)
    left = {o.index for o in agreement.unexplained(program.values, found)}
    shown = [o for o in program.operations if _is_shown(o, program, agreement)]
    held = [min((i for s in o.writes for i in found.get(s, ())), default=None) for o in shown]
    for n, operation in enumerate(shown):
        ours, at = runs.pair.paths.get(operation.path, operation.path), held[n]
        state = "differs" if operation.index in left else "joined"
        if at is not None:
            state = "laid out" if operation.kind in LAYOUT else "equal"
        yield Step(
            operation.kind,
            operation.path,
            ours,
            place(program, operation, ours),
            operation.line,
            state,
            None if at is None else _error(program, operation, index.values[at]),
            () if operation.kind in LAYOUT else _beside(index, held, n),
        )


def _is_shown(operation: Operation, program: Program, agreement: Agreement) -> bool:
    values = [program.values[s] for s in operation.writes if s in agreement.depends]
    return operation.kind not in _UNCHANGED and any(v.is_floating_point() for v in values)


def _error(program: Program, operation: Operation, value: Value) -> float | None:
    """Return how far the value of JAX's that holds an operation's result is from it."""
    same = (program.values[slot].numpy() for slot in operation.writes)
    arrays = [a.astype(np.float64) for a in same if a.size == value.array.size]
    errors = [difference(value.array, a) / max(float(moments(a)[1]), 1e-300) for a in arrays]
    return min(errors, default=None)


def _beside(index: Index, held: Sequence[int | None], n: int) -> tuple[Maker, ...]:
    """Return what JAX computes after the last agreement and up to this one, or to the next."""
    at = held[n]
    if at is None and n > 0 and held[n - 1] is None:
        return ()  # said of the one before
    first = max((i for i in held[:n] if i is not None), default=-1) + 1
    last = min((i for i in held[n:] if i is not None and i >= first), default=len(index.values) - 1)
    if at is not None:
        first, last = min(first, at), at
    made = dict.fromkeys((v.kind, v.line) for v in index.values[first : last + 1])
    return tuple(made) if at is not None else tuple(made)[:SHOWN]
