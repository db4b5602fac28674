"""The steps of a softmax as one, which every runtime has an operation for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from flaxblocks.exporting.operation import Operand, Operation, Value

SHAPING = ("broadcast_in_dim", "reshape", "stop_gradient")

Sources = Mapping[int, Operation]
"""The step that a value comes from, by the value's id."""


def with_softmax(steps: Sequence[Operation]) -> list[Operation]:
    """Return the steps, in which ``exp(x - max(x)) / sum(exp(x - max(x)))`` is one.

    What it was made of is left in front of it, for those who use it; see `jax.nn.softmax`.
    """
    sources = {id(result): step for step in steps for result in step.results}
    return [_softmax(step, sources) or step for step in steps]


def _softmax(step: Operation, sources: Sources) -> Operation | None:
    """Return the softmax that a division is the last step of, None where it is not."""
    powers = _source(step.operands[0], sources, "exp") if step.name == "div" else None
    moved = _source(powers.operands[0], sources, "sub") if powers is not None else None
    if powers is None or moved is None:
        return None
    x, (result,) = moved.operands[0], step.results
    total = _along(step.operands[1], sources, "reduce_sum", powers.results[0])
    largest = _along(moved.operands[1], sources, "reduce_max", x)
    if total is None or total != largest or x.shape != result.shape:
        return None
    return replace(step, name="softmax", operands=(x,), parameters={"axis": total}, primitive=None)


def _along(operand: Operand, sources: Sources, kind: str, x: Operand) -> int | None:
    """Return the one axis that an operand is a reduction of another array along."""
    shape = operand.shape
    while (step := sources.get(id(operand))) is not None and step.name in (*SHAPING, "max"):
        operands = step.operands
        if step.name == "max":  # of what is no less than minus infinity
            operands = [o for o in operands if isinstance(o, Value) or np.any(o != -np.inf)]
        if len(operands) != 1:
            return None
        (operand,) = operands
    found = _source(operand, sources, kind)
    if found is None or found.operands[0] is not x or len(found.parameters["axes"]) != 1:
        return None
    (axis,) = found.parameters["axes"]
    kept = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return axis if shape == kept else None


def _source(operand: Operand, sources: Sources, name: str) -> Operation | None:
    step = sources.get(id(operand))
    return step if isinstance(operand, Value) and step is not None and step.name == name else None
