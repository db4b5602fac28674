"""Gathers at known places that are slices, as JAX makes of ``x[:, 1]`` where the batch is open."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flaxblocks.exporting.operation import Operation, Value


def as_slices(step: Operation) -> list[Operation]:
    """Return a gather as a slice, of which a squeeze drops the axes it drops; else the step."""
    if step.name != "gather" or not isinstance(places := step.operands[1], np.ndarray):
        return [step]
    (x, _), (result,), given = step.operands, step.results, step.parameters
    numbers: Any = given["dimension_numbers"]
    axes, sizes = numbers.start_index_map, given["slice_sizes"]
    dropped = numbers.collapsed_slice_dims
    if not isinstance(x, Value) or numbers.operand_batching_dims:
        return [step]
    if places.ndim > 1:  # many places of one element each, which make the axes of the result
        made = tuple(a for a in range(len(result.shape)) if a not in numbers.offset_dims)
        if not dropped == axes == made or places.ndim != len(axes) + 1:
            return [step]
        dropped = ()
    start, limit, strides = [0] * len(sizes), list(sizes), [1] * len(sizes)
    for number, axis in enumerate(axes):
        run = _run(places[..., number], number if places.ndim > 1 else None)
        if run is None or not isinstance(x.shape[axis], int):
            return [step]
        start[axis], last, strides[axis] = run
        limit[axis] = last + sizes[axis]
        if start[axis] < 0 or limit[axis] > x.shape[axis]:
            return [step]
    box = Value(tuple(sizes), x.dtype)
    cut = Operation(
        "slice",
        (x,),
        {"start_indices": tuple(start), "limit_indices": tuple(limit), "strides": tuple(strides)},
        (box,) if dropped else step.results,
        step.layer,
    )
    if not dropped:
        return [cut]
    squeeze = replace(cut, name="squeeze", operands=(box,), parameters={"dimensions": dropped})
    return [cut, replace(squeeze, results=step.results)]


def _run(places: np.ndarray, along: int | None) -> Sequence[int] | None:
    """Return the first of evenly growing places, the last and the step, None where they do not."""
    if along is None:
        return int(places), int(places), 1
    row = np.moveaxis(places, along, -1).reshape(-1, places.shape[along])
    steps = set(np.diff(row[0]).tolist()) or {1}
    if (row != row[0]).any() or len(steps) > 1 or min(steps) < 1:
        return None
    return int(row[0, 0]), int(row[0, -1]), steps.pop()
