"""What moves elements, joins arrays or takes parts of them."""

from typing import Any

import numpy as np

from flaxblocks.exporting.onnx.graph import Graph, usual
from flaxblocks.exporting.onnx.reshaping import reshaped
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operation, Value, taken_axis


@rule("transpose")
def _transpose(graph: Graph, operation: Operation) -> None:
    """Call the axes otherwise: nothing moves until an operation needs another order."""
    (x,), (result,) = operation.operands, operation.results
    assert isinstance(x, Value)
    stored, permutation = graph.stored(x), operation.parameters["permutation"]
    order = tuple(permutation.index(axis) for axis in stored.order)
    graph.store(result, stored.name, order, stored.sizes)


@rule("reshape", "squeeze", "expand_dims")
def _reshape(graph: Graph, operation: Operation) -> None:
    reshaped(graph, operation.operands[0], operation.results[0])


@rule("broadcast_in_dim")
def _broadcast(graph: Graph, operation: Operation) -> None:
    """Add axes of size 1; operations on elements broadcast them."""
    (x, *_), (result,) = operation.operands, operation.results
    where = operation.parameters["broadcast_dimensions"]
    sizes: list[Any] = [1] * len(result.shape)
    for axis, place in enumerate(where):
        sizes[place] = x.shape[axis]
    if isinstance(x, np.ndarray):
        order = usual(len(sizes))
        thin = [sizes[axis] for axis in order]
        graph.store(result, graph.constant(x.reshape(sizes).transpose(order)), order, thin)
        return
    if len(where) == len(result.shape):
        stored = graph.stored(x)
        graph.store(result, stored.name, stored.order, stored.sizes)
        return
    thin = Value(tuple(sizes), x.dtype)
    reshaped(graph, x, thin)
    stored = graph.stored(thin)
    graph.store(result, stored.name, stored.order, stored.sizes)


@rule("concatenate")
def _concatenate(graph: Graph, operation: Operation) -> None:
    (result,) = operation.results
    order = graph.order_of(operation.operands, len(result.shape))
    names = [graph.take(operand, order) for operand in operation.operands]
    axis = order.index(operation.parameters["dimension"])
    graph.store(result, graph.add("Concat", names, axis=axis), order)


@rule("slice")
def _slice(graph: Graph, operation: Operation) -> None:
    (x,), (result,), given = operation.operands, operation.results, operation.parameters
    assert isinstance(x, Value)
    order, rank = graph.stored(x).order, len(x.shape)
    strides = given["strides"] or (1,) * rank
    cuts = [
        axis
        for axis in range(rank)
        if (given["start_indices"][axis], given["limit_indices"][axis], strides[axis])
        != (0, x.shape[axis], 1)
    ]
    columns = (
        [given["start_indices"][axis] for axis in cuts],
        [given["limit_indices"][axis] for axis in cuts],
        [order.index(axis) for axis in cuts],
        [strides[axis] for axis in cuts],
    )
    names = [graph.constant(np.asarray(column, np.int64)) for column in columns]
    graph.store(result, graph.add("Slice", [graph.take(x, order), *names]), order)


@rule("gather")
def _gather(graph: Graph, operation: Operation) -> None:
    (x, places), (result,), axis = operation.operands, operation.results, taken_axis(operation)
    assert isinstance(x, Value) and isinstance(places, np.ndarray)  # else there is no such axis
    order = graph.stored(x).order
    names = [graph.take(x, order), graph.constant(places.astype(np.int64).ravel())]
    graph.store(result, graph.add("Gather", names, axis=order.index(axis)), order)


@rule("split")
def _split(graph: Graph, operation: Operation) -> None:
    (x,), axis, start = operation.operands, operation.parameters["axis"], 0
    assert isinstance(x, Value)
    order = graph.stored(x).order
    source, place = graph.take(x, order), graph.constant(np.asarray([order.index(axis)], np.int64))
    for result, size in zip(operation.results, operation.parameters["sizes"], strict=True):
        ends = [graph.constant(np.asarray([end], np.int64)) for end in (start, start + size)]
        graph.store(result, graph.add("Slice", [source, *ends, place]), order)
        start += size


@rule("stack")
def _stack(graph: Graph, operation: Operation) -> None:
    """Concatenate along a new axis."""
    (result,), axis = operation.results, operation.parameters["axis"]
    order = graph.order_of(operation.operands, len(result.shape) - 1)
    shifted = tuple(a + (a >= axis) for a in order)
    where = shifted.index(axis - 1) if axis and axis - 1 in shifted else 0
    place = where + 1 if axis else 0
    unsqueezed = graph.constant(np.asarray([place], np.int64))
    parts = [
        graph.add("Unsqueeze", [graph.take(operand, order), unsqueezed])
        for operand in operation.operands
    ]
    full = (*shifted[:place], axis, *shifted[place:])
    graph.store(result, graph.add("Concat", parts, axis=place), full)


@rule("pad")
def _pad(graph: Graph, operation: Operation) -> None:
    (x, value), (result,) = operation.operands, operation.results
    sides = operation.parameters["padding_config"]
    if not isinstance(x, Value) or not isinstance(value, np.ndarray):
        raise NotImplementedError
    if any(inner for _, _, inner in sides):
        raise NotImplementedError
    order = graph.stored(x).order
    pads = [sides[axis][end] for end in (0, 1) for axis in order]
    names = [graph.constant(np.asarray(pads, np.int64)), graph.constant(value)]
    graph.store(result, graph.add("Pad", [graph.take(x, order), *names]), order)


@rule("rev")
def _reverse(graph: Graph, operation: Operation) -> None:
    (x,), (result,) = operation.operands, operation.results
    assert isinstance(x, Value)
    order = graph.stored(x).order
    axes = [order.index(axis) for axis in operation.parameters["dimensions"]]
    columns = ([-1] * len(axes), [np.iinfo(np.int64).min] * len(axes), axes, [-1] * len(axes))
    names = [graph.constant(np.asarray(column, np.int64)) for column in columns]
    graph.store(result, graph.add("Slice", [graph.take(x, order), *names]), order)
