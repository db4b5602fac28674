"""Convolutions, pools, means, softmax and products with matrices."""

from typing import Any

import numpy as np

from flaxblocks.exporting.onnx.graph import NCHW, Graph, usual
from flaxblocks.exporting.onnx.products import product_of_arrays
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operation, Value, group_count


@rule("conv_general_dilated")
def _convolution(graph: Graph, operation: Operation) -> None:
    given, (x, kernel, *bias) = operation.parameters, operation.operands
    numbers = given["dimension_numbers"]
    plain_layout = numbers.lhs_spec == numbers.out_spec == (0, 3, 1, 2)
    kernel_order = numbers.rhs_spec
    if not plain_layout or given["batch_group_count"] != 1 or set(given["lhs_dilation"]) != {1}:
        raise NotImplementedError
    low, high = zip(*given["padding"], strict=True)
    name = graph.add(
        "Conv",
        [
            graph.take(x, NCHW),
            graph.take(kernel, kernel_order),
            *_weights(graph, bias),
        ],
        strides=list(given["window_strides"]),
        pads=[*low, *high],
        dilations=list(given["rhs_dilation"]),
        group=group_count(operation),
        kernel_shape=[kernel.shape[axis] for axis in kernel_order[2:]],
    )
    graph.store(operation.results[0], name, NCHW)


@rule("reduce_window_max", "reduce_window_sum", "reduce_window_mean")
def _window(graph: Graph, operation: Operation) -> None:
    given = operation.parameters
    window, strides, padding = (
        given[n] for n in ("window_dimensions", "window_strides", "padding")
    )
    within = (window[0], window[3], strides[0], strides[3]) == (1, 1, 1, 1)
    dilated = {*given["base_dilation"], *given["window_dilation"]} != {1}
    if len(window) != 4 or not within or dilated or padding[0] != (0, 0) or padding[3] != (0, 0):
        raise NotImplementedError
    low, high = zip(*padding[1:3], strict=True)
    pool = {
        "kernel_shape": list(window[1:3]),
        "strides": list(strides[1:3]),
        "pads": [*low, *high],
    }
    x = graph.take(operation.operands[0], NCHW)
    if operation.name == "reduce_window_max":
        name = graph.add("MaxPool", [x], **pool)
    else:
        name = graph.add("AveragePool", [x], count_include_pad=1, **pool)
    if operation.name == "reduce_window_sum":
        count = np.asarray(window[1] * window[2], operation.results[0].dtype)
        name = graph.add("Mul", [name, graph.constant(count)])
    graph.store(operation.results[0], name, NCHW)


REDUCTIONS = {
    "reduce_sum": "ReduceSum",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "mean": "ReduceMean",
}


@rule(*REDUCTIONS)
def _reduce(graph: Graph, operation: Operation) -> None:
    (x,), (result,), gone = operation.operands, operation.results, operation.parameters["axes"]
    assert isinstance(x, Value)
    keepdims = operation.parameters.get("keepdims", False)
    order = graph.stored(x).order
    axes = graph.constant(np.asarray(sorted(order.index(axis) for axis in gone), np.int64))
    source = [graph.take(x, order), axes]
    name = graph.add(REDUCTIONS[operation.name], source, keepdims=int(keepdims))
    if not keepdims:
        left = [axis for axis in range(len(x.shape)) if axis not in gone]
        order = tuple(left.index(axis) for axis in order if axis in left)
    graph.store(result, name, order)


@rule("dot_general")
def _product(graph: Graph, operation: Operation) -> None:
    """Write a product with a matrix: of pixels' channels as a 1x1 convolution, else as MatMul."""
    x, matrix, *bias = operation.operands
    numbers = operation.parameters["dimension_numbers"]
    (x_axes, matrix_axes), batch = numbers
    (result,) = operation.results
    rank = len(x.shape)
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or batch != ((), ()):
        product_of_arrays(graph, operation)
        return
    if not isinstance(x, Value) or tuple(x_axes) != (rank - 1,):
        raise NotImplementedError
    matrix = matrix if tuple(matrix_axes) == (0,) else matrix.T
    order = usual(rank)
    source = graph.take(x, order)
    if len(x.shape) == 4:
        weights = [graph.constant(matrix.T[:, :, None, None]), *_weights(graph, bias)]
        name = graph.add("Conv", [source, *weights], kernel_shape=[1, 1])
    elif len(x.shape) == 2:
        name = graph.add("Gemm", [source, graph.constant(matrix), *_weights(graph, bias)])
    else:
        name = graph.add("MatMul", [source, graph.constant(matrix)])
        name = graph.add("Add", [name, *_weights(graph, bias)]) if bias else name
    graph.store(result, name, order)


@rule("softmax")
def _softmax(graph: Graph, operation: Operation) -> None:
    (x,), (result,) = operation.operands, operation.results
    assert isinstance(x, Value)
    order = graph.stored(x).order
    axis = order.index(operation.parameters["axis"])
    graph.store(result, graph.add("Softmax", [graph.take(x, order)], axis=axis), order)


@rule("affine")
def _affine(graph: Graph, operation: Operation) -> None:
    """Write ``x * factor + shift`` as a normalization of each channel, which is one node."""
    (x, *constants), (result,) = operation.operands, operation.results
    rank, channels = len(result.shape), result.shape[-1]
    if rank not in (2, 4):
        raise NotImplementedError
    still = [np.full(channels, number, result.dtype) for number in (0, 1)]
    arrays = [*(np.asarray(constant).ravel() for constant in constants), *still]
    name = graph.add(
        "BatchNormalization", [graph.take(x, usual(rank)), *_weights(graph, arrays)], epsilon=0.0
    )
    graph.store(result, name, usual(rank))


def _weights(graph: Graph, arrays: list[Any]) -> list[str]:
    return [graph.constant(array) for array in arrays]
