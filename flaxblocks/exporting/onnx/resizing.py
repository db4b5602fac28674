"""Rows and columns at places that are known, as ONNX's Resize takes them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from flaxblocks.exporting.onnx.graph import NCHW, Graph
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operand, Operation, Value, taken_axis

ROWS, COLUMNS = 1, 2

NEAREST, LINEAR = "nearest_resize", "linear_resize"
MODES: dict[str, dict[str, Any]] = {
    NEAREST: {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    },
    LINEAR: {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
}

Sources = Mapping[int, Operation]
"""The step that a value comes from, by the value's id."""

Weighted = tuple[Value, int, np.ndarray, np.ndarray]
"""An array, the axis along which pixels are taken of it, their places and their weights."""


@rule(*MODES)
def _write(graph: Graph, operation: Operation) -> None:
    (x,), (result,), how = operation.operands, operation.results, MODES[operation.name]
    before, after = x.shape[ROWS : COLUMNS + 1], result.shape[ROWS : COLUMNS + 1]
    source = graph.take(x, NCHW)
    if any(size % held for held, size in zip(before, after, strict=True)):
        sizes = graph.constant(np.asarray(after, np.int64))
        name = graph.add("Resize", [source, "", "", sizes], axes=[2, 3], **how)
    else:  # ONNX Runtime has a faster form of these, if they are told so
        factors = [size // held for held, size in zip(before, after, strict=True)]
        scales = graph.constant(np.asarray([1, 1, *factors], np.float32))
        name = graph.add("Resize", [source, "", scales], **how)
    graph.store(result, name, NCHW)


def with_resizes(steps: Sequence[Operation]) -> list[Operation]:
    """Return the steps, in which what enlarges images by repeating pixels is one.

    So is what interpolates between pixels. What it was made of is left in front of it, for those
    who use it.
    """
    sources = {id(result): step for step in steps for result in step.results}
    made: dict[int, Operation] = {}
    for step in steps:
        for name, found in ((NEAREST, _repeated(step)), (LINEAR, _interpolated(step, sources))):
            if found is None:
                continue
            x, axis = found
            inner = made.get(id(x))
            if inner is not None and inner.name == name:
                if inner.operands[0].shape[axis] == x.shape[axis]:
                    x = inner.operands[0]
            (result,) = step.results
            made[id(result)] = Operation(name, (x,), {}, (result,), step.layer)
    return [made.get(id(step.results[0]), step) for step in steps]


def _interpolated(step: Operation, sources: Sources) -> tuple[Value, int] | None:
    """Return the pixels, and the axis along which a step interpolates; see `bilinear_resize`."""
    terms = [_weighted(operand, sources) for operand in step.operands] if step.name == "add" else []
    if not terms or None in terms:
        return None
    (x, axis, before, stay), (other, other_axis, after, part) = cast(list[Weighted], terms)
    if x is not other or axis != other_axis or axis not in (ROWS, COLUMNS) or len(x.shape) != 4:
        return None
    held, size = x.shape[axis], before.size
    place = np.maximum((np.arange(size) + 0.5) * held / size - 0.5, 0)
    least = place.astype(int)
    same = np.array_equal(before, least) and np.array_equal(after, np.minimum(least + 1, held - 1))
    rounding = np.finfo(part.dtype).eps
    fits = all(
        weights.size == size and np.allclose(weights.ravel(), wanted, rtol=0, atol=rounding)
        for weights, wanted in ((stay, 1 - (place - least)), (part, place - least))
    )
    return (x, axis) if same and fits else None


def _weighted(operand: Operand, sources: Sources) -> Weighted | None:
    """Return an array, an axis, places and weights, where the operand is their product."""
    product = sources.get(id(operand))
    if product is None or product.name != "mul":
        return None
    pixels, weights = product.operands
    taken = sources.get(id(pixels))
    if taken is None or taken.name != "gather" or not isinstance(weights, np.ndarray):
        return None
    x, places = taken.operands
    try:
        axis = taken_axis(taken)
    except NotImplementedError:
        return None
    along = [a for a, size in enumerate(weights.shape) if size != 1]
    if not isinstance(x, Value) or not isinstance(places, np.ndarray) or along not in ([], [axis]):
        return None
    return x, axis, places.ravel(), weights


def _repeated(step: Operation) -> tuple[Value, int] | None:
    """Return the pixels, and the axis along which a step takes each once or more, in order."""
    if step.name != "gather" or not isinstance(x := step.operands[0], Value) or len(x.shape) != 4:
        return None
    try:
        axis = taken_axis(step)
    except NotImplementedError:
        return None
    places: Any = step.operands[1]
    held, size = x.shape[axis], places.size
    scale = np.float32(size / held)  # in the arithmetic that ONNX Runtime has
    wanted = np.floor(np.arange(size, dtype=np.float32) / scale)
    fits = axis in (ROWS, COLUMNS) and size >= held and np.array_equal(places.ravel(), wanted)
    return (x, axis) if fits else None
