"""Operations on each element by itself."""

from collections.abc import Callable

import numpy as np
from onnx import helper

from flaxblocks.exporting.onnx.graph import Graph
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operation, Value

ELEMENTWISE = {
    "add": "Add",
    "add_any": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "pow": "Pow",
    "relu": "Relu",
    "neg": "Neg",
    "exp": "Exp",
    "log": "Log",
    "tanh": "Tanh",
    "logistic": "Sigmoid",
    "erf": "Erf",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "sign": "Sign",
    "floor": "Floor",
    "ceil": "Ceil",
    "eq": "Equal",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "and": "And",
    "or": "Or",
    "not": "Not",
    "sin": "Sin",
    "cos": "Cos",
    "hard_swish": "HardSwish",
    "gelu_exact": "Gelu",
    "stop_gradient": "Identity",
    "copy": "Identity",
}


@rule(*ELEMENTWISE)
def _elementwise(graph: Graph, operation: Operation) -> None:
    pointwise(graph, operation, lambda names: graph.add(ELEMENTWISE[operation.name], names))


def pointwise(graph: Graph, operation: Operation, node: Callable[[list[str]], str]) -> None:
    """Write a node that computes each element by itself, its operands broadcast."""
    (result,) = operation.results
    order = graph.order_of(operation.operands, len(result.shape))
    names: list[str] = []
    sizes = [1] * len(result.shape)
    for operand in operation.operands:
        scalar = isinstance(operand, np.ndarray) and not operand.ndim
        names.append(graph.take(operand, () if scalar else order, full=False))
        if isinstance(operand, Value):
            stored = graph.stored(operand)
            own = [stored.sizes[stored.axis(axis)] for axis in order]
            sizes = [b if a == 1 else a for a, b in zip(sizes, own, strict=True)]
        elif not scalar:
            own = [operand.shape[axis] for axis in order]
            sizes = [b if a == 1 else a for a, b in zip(sizes, own, strict=True)]
    graph.store(result, node(names), order, sizes)


@rule("relu6")
def _relu6(graph: Graph, operation: Operation) -> None:
    kind = operation.results[0].dtype
    bounds = [graph.constant(np.asarray(bound, kind)) for bound in (0, 6)]
    pointwise(graph, operation, lambda names: graph.add("Clip", [*names, *bounds]))


@rule("hard_sigmoid")
def _hard_sigmoid(graph: Graph, operation: Operation) -> None:
    pointwise(graph, operation, lambda x: graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))


@rule("square")
def _square(graph: Graph, operation: Operation) -> None:
    pointwise(graph, operation, lambda names: graph.add("Mul", names * 2))


@rule("rsqrt")
def _rsqrt(graph: Graph, operation: Operation) -> None:
    pointwise(graph, operation, lambda x: graph.add("Reciprocal", [graph.add("Sqrt", x)]))


@rule("erfc")
def _erfc(graph: Graph, operation: Operation) -> None:
    one = graph.constant(np.ones((), operation.results[0].dtype))
    pointwise(graph, operation, lambda x: graph.add("Sub", [one, graph.add("Erf", x)]))


@rule("integer_pow")
def _integer_pow(graph: Graph, operation: Operation) -> None:
    power = graph.constant(np.asarray(operation.parameters["y"], operation.results[0].dtype))
    pointwise(graph, operation, lambda names: graph.add("Pow", [*names, power]))


@rule("convert_element_type")
def _convert(graph: Graph, operation: Operation) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(operation.results[0].dtype))
    pointwise(graph, operation, lambda names: graph.add("Cast", names, to=kind))


@rule("select_n")
def _select(graph: Graph, operation: Operation) -> None:
    pointwise(graph, operation, lambda x: graph.add("Where", [x[0], x[2], x[1]]))


@rule("clamp")
def _clamp(graph: Graph, operation: Operation) -> None:
    pointwise(graph, operation, lambda x: graph.add("Min", [graph.add("Max", [x[1], x[0]]), x[2]]))
