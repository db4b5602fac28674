"""Rows and columns at places that are known, as ONNX's Resize takes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flaxblocks.exporting.onnx.graph import NCHW, Graph
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operation, Value, taken_axis

ROWS, COLUMNS = 1, 2


@rule("nearest_resize")
def _write(graph: Graph, operation: Operation) -> None:
    (x,), (result,) = operation.operands, operation.results
    before, after = x.shape[ROWS : COLUMNS + 1], result.shape[ROWS : COLUMNS + 1]
    how: dict[str, Any] = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
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

    What it was made of is left in front of it, for those who use it.
    """
    made: dict[int, Operation] = {}
    for step in steps:
        axis = _repeated_axis(step)
        if axis is None:
            continue
        x = step.operands[0]
        inner = made.get(id(x))
        if inner is not None and inner.operands[0].shape[axis] == x.shape[axis]:
            x = inner.operands[0]
        (result,) = step.results
        made[id(result)] = Operation("nearest_resize", (x,), {}, (result,), step.layer)
    return [made.get(id(step.results[0]), step) for step in steps]


def _repeated_axis(step: Operation) -> int | None:
    """Return the axis of pixels along which a step takes each pixel once or more, in order."""
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
    return axis if fits else None
