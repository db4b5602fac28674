"""Steps that belong together, put together: a bias into its convolution, a sum into its mean."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from flaxblocks.exporting.operation import Operand, Operation, Value

LINEAR = ("conv_general_dilated", "dot_general")
SHAPING = ("broadcast_in_dim", "reshape")

Sources = Mapping[int, Operation]
"""The step that a value comes from, by the value's id, where nothing else uses the value."""

Changes = dict[int, Operation | None]
"""What takes a step's place, None for nothing, by the step's id."""


def simplified(operations: Sequence[Operation], result: Operand | None) -> list[Operation]:
    """Return the steps with each of `REWRITES` done."""
    steps = list(operations)
    for rewrite in REWRITES:
        uses = Counter(id(operand) for step in steps for operand in step.operands)
        uses[id(result)] += 1
        sources = {id(step.results[0]): step for step in steps if uses[id(step.results[0])] == 1}
        changes: Changes = {}
        for step in steps:
            changes |= rewrite(step, sources)
        changed = [changes.get(id(step), step) for step in steps]
        steps = [step for step in changed if step is not None]
    return steps


def _source(operand: Operand, sources: Sources, *names: str) -> Operation | None:
    """Return the step that a value comes from, if it has one of these names."""
    step = sources.get(id(operand))
    return step if step is not None and step.name in names else None


def _bias(step: Operation, sources: Sources) -> Changes:
    """Put ``conv(x) + bias`` into one step, the bias its third operand."""
    if step.name != "add":
        return {}
    for linear, bias in (step.operands, step.operands[::-1]):
        conv = _source(linear, sources, *LINEAR)
        if conv is None or not isinstance(bias, np.ndarray) or len(conv.operands) != 2:
            continue
        if bias.ndim and bias.size == bias.shape[-1] == step.results[0].shape[-1]:
            operands = (*conv.operands, bias.ravel())
            return {
                id(conv): replace(conv, operands=operands, results=step.results),
                id(step): None,
            }
    return {}


def _mean(step: Operation, sources: Sources) -> Changes:
    """Put a sum and the division by how many it added into one step."""
    if step.name != "div" or not isinstance(count := step.operands[1], np.ndarray):
        return {}
    shaping = _source(step.operands[0], sources, *SHAPING)
    last = step.operands[0] if shaping is None else shaping.operands[0]
    total = _source(last, sources, "reduce_sum")
    if total is None or not isinstance(x := total.operands[0], Value):
        return {}
    sizes = [x.shape[axis] for axis in total.parameters["axes"]]
    if not all(isinstance(size, int) for size in sizes) or np.any(count != prod(sizes)):
        return {}
    kept = tuple(1 if axis in total.parameters["axes"] else d for axis, d in enumerate(x.shape))
    keepdims = shaping is not None
    if keepdims and shaping.results[0].shape != kept:
        return {}
    parameters = {"axes": total.parameters["axes"], "keepdims": keepdims}
    mean = Operation("mean", (x,), parameters, step.results, total.layer)
    shaped: Changes = {id(shaping): None} if keepdims else {}
    return shaped | {id(total): mean, id(step): None}


def _relu(step: Operation, sources: Sources) -> Changes:
    """Call ``max(x, 0)`` what every runtime calls it."""
    if step.name != "max":
        return {}
    for x, least in (step.operands, step.operands[::-1]):
        if isinstance(least, np.ndarray) and not least.ndim and least == 0:
            return {id(step): replace(step, name="relu", operands=(x,))}
    return {}


def _mean_of_window(step: Operation, sources: Sources) -> Changes:
    """Put a window's sum and the division by its size into one step."""
    total = _source(step.operands[0], sources, "reduce_window_sum") if step.name == "div" else None
    if total is None or not isinstance(count := step.operands[1], np.ndarray):
        return {}
    if np.any(count != prod(total.parameters["window_dimensions"])):
        return {}
    mean = replace(total, name="reduce_window_mean", results=step.results)
    return {id(total): mean, id(step): None}


def _affine(step: Operation, sources: Sources) -> Changes:
    """Put ``(x - mean) * factor + shift`` into one step, ``x * factor + shift``."""
    product = _source(step.operands[0], sources, "mul") if step.name == "add" else None
    difference = _source(product.operands[0], sources, "sub") if product is not None else None
    if product is None or difference is None:
        return {}
    mean, factor, shift = difference.operands[1], product.operands[1], step.operands[1]
    channels = (*[1] * (len(step.results[0].shape) - 1), step.results[0].shape[-1])
    for constant in (mean, factor, shift):
        if not isinstance(constant, np.ndarray) or constant.shape != channels:
            return {}
    moved = np.asarray(shift) - np.asarray(mean) * np.asarray(factor)
    operands = (difference.operands[0], factor, moved)
    affine = Operation("affine", operands, {}, step.results, step.layer)
    return {id(difference): None, id(product): None, id(step): affine}


REWRITES: tuple[Callable[[Operation, Sources], Changes], ...] = (
    _mean,
    _mean_of_window,
    _affine,
    _bias,
    _relu,
)
