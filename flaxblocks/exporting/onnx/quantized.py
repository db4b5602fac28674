"""Quantized arrays and linear operations: ONNX's QuantizeLinear and DequantizeLinear.

ONNX Runtime makes an operation in integers of an operation between the two.
"""

from typing import Any

import numpy as np

from flaxblocks.exporting.onnx.elements import pointwise
from flaxblocks.exporting.onnx.graph import NCHW, Graph, plain
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operation
from flaxblocks.exporting.quantization.grid import Grid


@rule("round_to_grid")
def _round(graph: Graph, operation: Operation) -> None:
    grid = operation.parameters["grid"]
    pointwise(graph, operation, lambda names: _rounded(graph, names[0], grid))


@rule("integer_linear")
def _linear(graph: Graph, operation: Operation) -> None:
    (x, kernel, scales, bias), (result,) = operation.operands, operation.results
    given: Any = operation.parameters
    window, source, grid = given["window"], given["source"], given["result"]
    assert isinstance(kernel, np.ndarray) and isinstance(scales, np.ndarray)
    assert isinstance(bias, np.ndarray)  # they are no function of the images
    across = 1 if window is None else 0
    zeros = np.zeros(len(scales), np.int8)
    weights = _restored(graph, kernel, scales, zeros, axis=across)
    offsets = _restored(graph, bias, np.float32(source.scale) * scales, axis=0)
    order = plain(2) if window is None else NCHW
    inputs = [graph.take(x, order), weights, offsets]
    if window is None:
        name = graph.add("Gemm", inputs)
    else:
        low, high = zip(*window.padding, strict=True)
        name = graph.add(
            "Conv",
            inputs,
            strides=list(window.strides),
            pads=[*low, *high],
            dilations=list(window.dilation),
            group=window.groups,
            kernel_shape=list(kernel.shape[2:]),
        )
    graph.store(result, name if grid is None else _rounded(graph, name, grid), order)


def _restored(graph: Graph, *arrays: np.ndarray, axis: int) -> str:
    """Return what weights that are stored as integers stand for."""
    names = [graph.constant(array) for array in arrays]
    return graph.add("DequantizeLinear", names, axis=axis)


def _rounded(graph: Graph, name: str, grid: Grid) -> str:
    numbers = np.asarray(grid.scale, np.float32), np.asarray(grid.zero, np.uint8)
    names = [graph.constant(number) for number in numbers]
    return graph.add("DequantizeLinear", [graph.add("QuantizeLinear", [name, *names]), *names])
