"""Group normalization as one step, whose means ONNX Runtime takes in one operation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flaxblocks.exporting.onnx.graph import NCHW, Graph
from flaxblocks.exporting.onnx.rule import rule
from flaxblocks.exporting.operation import Operation

SHAPING = ("broadcast_in_dim", "reshape")
TOGETHER = (1, 2, 4)
"""The axes of ``(n, h, w, groups, channels of a group)`` that are normalized together."""


@rule("group_norm")
def _write(graph: Graph, operation: Operation) -> None:
    """Normalize each group as one channel of an instance, then scale by channel."""
    (x, scale, shift), (result,) = operation.operands, operation.results
    groups, channels = operation.parameters["groups"], result.shape[-1]
    still: list[Any] = [np.full(groups, number, result.dtype) for number in (1, 0)]
    ones, zeros = (graph.constant(array) for array in still)
    y = graph.add("Reshape", [graph.take(x, NCHW), graph.shape([0, groups, -1])])  # 0: as it is
    epsilon = operation.parameters["epsilon"]
    y = graph.add("InstanceNormalization", [y, ones, zeros], epsilon=epsilon)
    y = graph.add("Reshape", [y, graph.shape([0, *(result.shape[axis] for axis in NCHW[1:])])])
    plain: list[Any] = [np.full(channels, number, result.dtype) for number in (0, 1)]
    names = [graph.constant(np.asarray(array)) for array in (scale, shift, *plain)]
    graph.store(result, graph.add("BatchNormalization", [y, *names], epsilon=0.0), NCHW)


def with_group_norms(steps: Sequence[Operation]) -> list[Operation]:
    """Return the steps, in which each group normalization of images is one, ``group_norm``.

    What it was made of is left in front of it, for those who use it.
    """
    known = _Steps(steps)
    return [_group_norm(step, known) or step for step in steps]


def _group_norm(step: Operation, known: "_Steps") -> Operation | None:
    """Return ``(x - mean) * (rsqrt(variance + epsilon) * scale) + shift`` as one step."""
    product, shift = known.operands(step.results[0], "add")
    centered, factor = known.operands(product, "mul")
    x, mean = known.operands(centered, "sub")
    root, scale = known.operands(factor, "mul")
    variance, epsilon = known.operands(known.operands(root, "rsqrt")[0], "add")
    pieces, squares = known.averaged(mean), known.averaged(variance)
    own, mean_of_pieces = known.operands(known.operands(squares, "square")[0], "sub")
    constants = (shift, scale, epsilon)
    if x is None or pieces is None or own is not pieces:
        return None
    if not all(isinstance(constant, np.ndarray) for constant in constants):
        return None
    if len(x.shape) != 4 or known.operands(pieces, "reshape")[0] is not x:
        return None
    channels: int = x.shape[-1]
    groups: int = pieces.shape[3]
    if pieces.shape != (*x.shape[:3], groups, channels // groups):
        return None
    numbers = np.arange(groups)
    of_channel = np.repeat(numbers, channels // groups).reshape(1, 1, 1, channels)
    spread = (
        (mean, of_channel),
        (variance, of_channel),
        (mean_of_pieces, numbers.reshape(1, 1, 1, groups, 1)),
    )
    if not all(np.array_equal(known.places(one, groups), wanted) for one, wanted in spread):
        return None
    return Operation(
        "group_norm",
        (x, *(np.broadcast_to(array, of_channel.shape).ravel() for array in (scale, shift))),
        {"groups": groups, "epsilon": float(epsilon)},
        step.results,
        step.layer,
    )


class _Steps:
    """Steps by the values that they compute.

    Args:
        steps: in order.
    """

    def __init__(self, steps: Sequence[Operation]):
        self._sources = {id(result): step for step in steps for result in step.results}

    def operands(self, value: Any, name: str) -> tuple[Any, Any]:
        """Return the operands of a step of this name, a known array last; None for others."""
        step = self._sources.get(id(value))
        if step is None or step.name != name:
            return None, None
        first, second = (*step.operands, None)[:2]
        return (second, first) if isinstance(first, np.ndarray) else (first, second)

    def averaged(self, value: Any) -> Any:
        """Return the pieces of images that a value, in whatever shape, has the means of."""
        mean = self._sources.get(id(self._chain(value)[1]))
        if mean is None or mean.name != "mean" or mean.parameters["axes"] != TOGETHER:
            return None
        return mean.operands[0]

    def places(self, value: Any, groups: int) -> np.ndarray:
        """Return which group's number stands where in one image's part of a value."""
        chain, mean = self._chain(value)
        numbers = np.arange(groups).reshape(1, *mean.shape[1:])
        for step in chain:
            shape = (1, *step.results[0].shape[1:])
            if step.name == "broadcast_in_dim":
                thin = [1] * len(shape)
                for axis, where in enumerate(step.parameters["broadcast_dimensions"]):
                    thin[where] = numbers.shape[axis]
                numbers = np.broadcast_to(numbers.reshape(thin), shape)
            else:
                numbers = numbers.reshape(shape)
        return numbers

    def _chain(self, value: Any) -> tuple[list[Operation], Any]:
        """Return the steps that shape a value, and what they begin with."""
        chain: list[Operation] = []
        while (step := self._sources.get(id(value))) is not None and step.name in SHAPING:
            chain.insert(0, step)
            value = step.operands[0]
        return chain, value
