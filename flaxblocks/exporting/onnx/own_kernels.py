"""Kernels that each image mixes for itself, laid out as ONNX's Conv takes them.

A kernel of the mixture is ``(out, in, height, width)``: the known kernels are, so that the mixed
ones need not be turned. All images together are one Conv, with groups of channels for each image.
"""

from collections.abc import Sequence

import numpy as np

from flaxblocks.exporting.onnx.graph import NCHW, Graph, Order
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operation, Value

MIXED, POINTWISE = "mixed_kernels", "pointwise_with_mixed_kernels"

KERNELS: Order = (0, 4, 3, 1, 2)
"""How kernels ``(number, height, width, in, out)`` are stored."""

MIXING = (((1,), (0,)), ((), ()))
MATRIX_OF_EACH = (((3,), (1,)), ((0,), (0,)))
"""The axes of products: of weights and kernels, of pixels ``(n, h, w, c)`` and ``(n, c, d)``."""


def with_own_kernels(steps: Sequence[Operation]) -> list[Operation]:
    """Return the steps, in which a mixture of kernels is one, and a 1x1 convolution with it.

    What the convolution was made of is left in front of it, for those who use it.
    """
    mixed: dict[int, Value] = {}
    made: list[Operation] = []
    for step in steps:
        numbers = step.parameters.get("dimension_numbers")
        if step.name == "squeeze" and id(step.operands[0]) in mixed:
            mixed[id(step.results[0])] = mixed[id(step.operands[0])]
        elif step.name == "dot_general" and len(step.operands) == 2:
            x, other = step.operands
            if numbers == MIXING and isinstance(other, np.ndarray) and other.ndim == len(KERNELS):
                step = Operation(MIXED, step.operands, {}, step.results, step.layer)
                mixed[id(step.results[0])] = step.results[0]
            elif numbers == MATRIX_OF_EACH and id(other) in mixed and isinstance(x.shape[0], int):
                operands = x, mixed[id(other)]
                step = Operation(POINTWISE, operands, {}, step.results, step.layer)
        made.append(step)
    return made


@rule(MIXED)
def _mixed(graph: Graph, operation: Operation) -> None:
    (weights, kernels), (result,) = operation.operands, operation.results
    assert isinstance(kernels, np.ndarray)
    flat = graph.constant(kernels.transpose(KERNELS).reshape(len(kernels), -1))
    name = graph.add("MatMul", [graph.take(weights, (0, 1)), flat])
    graph.store(result, graph.reshape(name, [result.shape[axis] for axis in KERNELS]), KERNELS)


@rule(POINTWISE)
def _pointwise(graph: Graph, operation: Operation) -> None:
    (x, kernels), (result,) = operation.operands, operation.results
    images, height, width, channels = x.shape
    source = graph.take(x, NCHW)
    if images > 1:
        source = graph.reshape(source, [1, images * channels, height, width])
    _, *window, inner, outer = kernels.shape
    weights = graph.reshape(graph.take(kernels, KERNELS), [images * outer, inner, *window])
    name = graph.add("Conv", [source, weights], group=images, kernel_shape=window)
    if images > 1:
        name = graph.reshape(name, [result.shape[axis] for axis in NCHW])
    graph.store(result, name, NCHW)
