"""A growing ONNX graph: names, weights, and in which order an array's axes are stored.

JAX's images are NHWC, ONNX's convolutions take NCHW. An array of rank 4 is kept as NCHW from the
images on, and what an axis is called is looked up: a transposition in the program costs nothing
until an operation needs another order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from flaxblocks.exporting.operation import Operand, Value

Order = tuple[int, ...]

NCHW: Order = (0, 3, 1, 2)


def plain(rank: int) -> Order:
    """Return the order in which axes are stored as they are."""
    return tuple(range(rank))


def usual(rank: int) -> Order:
    """Return the order that operations produce where they are free to."""
    return NCHW if rank == 4 else plain(rank)


@dataclass(frozen=True)
class Stored:
    """An array of the graph.

    Args:
        name: in the graph.
        order: the program's axis that each of its axes is.
        sizes: of its axes as stored; 1 where it is only broadcast to the value's size.
    """

    name: str
    order: Order
    sizes: tuple[Any, ...]

    def axis(self, axis: int) -> int:
        """Return where an axis of the program is."""
        return self.order.index(axis)


@dataclass
class Graph:
    """The nodes and weights so far.

    Args:
        nodes: in order.
        weights: the initializers.
    """

    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    weights: list[TensorProto] = field(default_factory=list[TensorProto])
    _stored: dict[int, Stored] = field(default_factory=dict[int, Stored])
    _reshaped: dict[str, str] = field(default_factory=dict[str, str])
    _kept: list[Any] = field(default_factory=list[Any])

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node with one output, and return the output's name."""
        name = f"v{len(self.nodes)}"
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}_{name}", **given))
        if kind == "Reshape":
            self._reshaped[name] = inputs[0]
        return name

    def reshape(self, name: str, sizes: Sequence[Any]) -> str:
        """Append a reshape, of what was reshaped before where that is so, and return its output.

        Args:
            name: of the array.
            sizes: the shape, in which one size may be open.
        """
        return self.add("Reshape", [self._reshaped.get(name, name), self.shape(sizes)])

    def keep_used(self, result: str) -> None:
        """Leave out the nodes and weights that a result does not depend on."""
        wanted, used = {result}, list[NodeProto]()
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                used.insert(0, node)
        self.nodes = used
        self.weights = [weight for weight in self.weights if weight.name in wanted]

    def constant(self, array: np.ndarray) -> str:
        """Return the name of a new weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def store(
        self, value: Value, name: str, order: Order, sizes: Sequence[Any] | None = None
    ) -> None:
        """Say by what name a value is in the graph, and how it is stored."""
        full = [value.shape[axis] for axis in order]
        self._stored[id(value)] = Stored(name, order, tuple(full if sizes is None else sizes))
        self._kept.append(value)

    def stored(self, value: Value) -> Stored:
        """Return how a value is stored."""
        return self._stored[id(value)]

    def order_of(self, operands: Sequence[Operand], rank: int) -> Order:
        """Return the order in which operands of a rank meet: that of the first in the graph."""
        orders = (
            self.stored(operand).order
            for operand in operands
            if isinstance(operand, Value) and len(operand.shape) == rank
        )
        return next(orders, usual(rank))

    def take(self, operand: Operand, order: Order, *, full: bool = True) -> str:
        """Return the name of an operand in an order.

        Args:
            operand: a value, or an array that becomes a weight.
            order: of its axes.
            full: whether it must have its whole size, not be left to broadcast.
        """
        if isinstance(operand, np.ndarray):
            return self.constant(operand.transpose(order) if operand.ndim else operand)
        stored = self.stored(operand)
        name = stored.name
        if stored.order != order:
            name = self._turned(stored, order)
        sizes = tuple(stored.sizes[stored.axis(axis)] for axis in order)
        wanted = tuple(operand.shape[axis] for axis in order)
        if full and sizes != wanted:
            # ONNX's Expand keeps an axis by 1; it has no -1 for one that is open.
            missing = [1 if a == b else b for a, b in zip(sizes, wanted, strict=True)]
            name = self.add("Expand", [name, self.shape(missing)])
        return name

    def _turned(self, stored: Stored, order: Order) -> str:
        """Return the name of an array in another order, by a reshape where only ones move."""
        perm = [stored.axis(axis) for axis in order]
        moving = [axis for axis in perm if stored.sizes[axis] != 1]
        if moving == sorted(moving):
            sizes = [stored.sizes[axis] for axis in perm]
            return self.reshape(stored.name, sizes)
        return self.add("Transpose", [stored.name], perm=perm)

    def shape(self, sizes: Sequence[Any]) -> str:
        """Return the name of a shape, in which one size may be open.

        Raises:
            ValueError: if more are.
        """
        numbers = [size if isinstance(size, int) else -1 for size in sizes]
        if numbers.count(-1) > 1:
            raise ValueError(f"two open sizes in a shape: {sizes}")
        return self.constant(np.asarray(numbers, np.int64))
