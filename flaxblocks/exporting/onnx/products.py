"""Products of two arrays that both depend on the images, as attention has them."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from flaxblocks.exporting.einsum import equation
from flaxblocks.exporting.onnx.graph import Graph, Order, plain
from flaxblocks.exporting.operation import Operand, Operation, Value


@dataclass(frozen=True)
class _Factor:
    """An operand.

    Args:
        array: the operand.
        term: a letter for each of its axes, as the program has them.
        order: in which its axes are stored.
    """

    array: Operand
    term: str
    order: Order

    @property
    def stored(self) -> str:
        """The letters as the axes are stored."""
        return "".join(self.term[axis] for axis in self.order)

    @property
    def sizes(self) -> dict[str, Any]:
        """The size of each axis by its letter."""
        return dict(zip(self.term, self.array.shape, strict=True))

    @property
    def turned(self) -> bool:
        """Whether it is stored otherwise than the program has it."""
        return self.order != plain(len(self.order))

    def take(self, graph: Graph, letters: str) -> str:
        """Return its name, its axes in the order of these letters."""
        return graph.take(self.array, tuple(self.term.index(letter) for letter in letters))


def product_of_arrays(graph: Graph, operation: Operation) -> None:
    """Write a product: of matrices as MatMul, which ONNX Runtime is fast at, else as Einsum.

    Raises:
        NotImplementedError: if it has a bias.
    """
    x, y, *bias = operation.operands
    if bias:
        raise NotImplementedError
    ranks = len(x.shape), len(y.shape)
    text = equation(operation.parameters["dimension_numbers"], *ranks)
    terms, _, made = text.partition("->")
    factors = tuple(
        _Factor(array, term, _order(graph, array))
        for array, term in zip((x, y), terms.split(","), strict=True)
    )
    target = _target(factors, made)
    matrices = _of_matrices(graph, factors, made, target)
    name, letters = matrices or (_einsum(graph, factors, target), target)
    (result,) = operation.results
    graph.store(result, name, tuple(made.index(letter) for letter in letters))


def _order(graph: Graph, array: Operand) -> Order:
    return graph.stored(array).order if isinstance(array, Value) else plain(array.ndim)


def _target(factors: tuple[_Factor, ...], made: str) -> str:
    """Return the order of the result's axes.

    Where the larger factor is stored otherwise than the program has it, the result is stored as
    that one, the sum's axis replaced by what the other has instead.
    """
    larger, other = sorted(factors, key=lambda factor: -len(factor.term))
    if not larger.turned:
        return made
    new = "".join(letter for letter in other.stored if letter not in larger.term)
    gone = next(letter for letter in larger.stored if letter not in made)
    return "".join(a for a in larger.stored.replace(gone, gone + new) if a in made)


def _of_matrices(
    graph: Graph, factors: tuple[_Factor, ...], made: str, target: str
) -> tuple[str, str] | None:
    """Write a product of a matrix with a matrix, in each of a batch; None where it is another.

    A factor's two last axes may change places: ONNX Runtime makes one operation of that and the
    product. Where the sum is over channels, the result has none, and is stored as the program has
    it. One factor may have an axis more, as queries have that of the heads that share their keys:
    each of its matrices is multiplied with the other's, and channels stay in front of pixels.
    Axes that are stored side by side, as rows and columns of pixels, may also be one axis.
    """
    first, second = factors
    batch = [letter for letter in first.stored if letter in second.term and letter in made]
    summed = [letter for letter in first.term if letter in second.term and letter not in made]
    rows, columns = (
        [letter for letter in factor.stored if letter in made and letter not in batch]
        for factor in factors
    )
    if len(columns) > len(rows):
        first, second, rows, columns = second, first, columns, rows
    if not len(summed) == len(columns) == 1 <= len(rows):
        return None
    more, row, column, gone = rows[:-1], rows[-1], columns[0], summed[0]
    if not more:
        channels_gone = all(factor.turned and factor.stored[-1] != gone for factor in factors)
        wanted = made if channels_gone else target
        swapped = wanted.index(row) > wanted.index(column)
    elif len(more) == 1 and {row, gone} == set(first.stored[-2:]):
        swapped = second.turned and second.stored.index(column) < second.stored.index(gone)
    elif [*first.stored] in ([*batch, gone, *rows], [*batch, *rows, gone]):
        swapped = first.stored.index(gone) < first.stored.index(row)
        more, row = [], "".join(rows)
    else:  # its matrices would have to be moved
        return None
    if swapped:
        first, second, row, column = second, first, column, row
    left = _each(graph, first, batch, more, (row, gone))
    right = _each(graph, second, batch, more, (gone, column))
    name = graph.add("MatMul", [left, right])
    letters = "".join([*batch, *more, row, column])
    if len(row + column) > 2:
        sizes = {letter: size for factor in factors for letter, size in factor.sizes.items()}
        name = graph.reshape(name, [sizes[letter] for letter in letters])
    return name, letters


def _each(
    graph: Graph, factor: _Factor, batch: list[str], more: list[str], matrix: tuple[str, str]
) -> str:
    """Return the name of a factor as matrices, the same one where the other has more."""
    name = factor.take(graph, "".join([*batch, *(a for a in more if a in factor.term), *matrix]))
    if len("".join(matrix)) > 2:
        sizes = [*([a] for a in batch), *matrix]
        shape = [prod(factor.sizes[letter] for letter in axis) for axis in sizes]
        return graph.reshape(name, shape)
    axes = [len(batch) + i for i, a in enumerate(more) if a not in factor.term]
    return graph.add("Unsqueeze", [name, graph.constant(np.asarray(axes))]) if axes else name


def _einsum(graph: Graph, factors: tuple[_Factor, ...], target: str) -> str:
    names = [factor.take(graph, factor.stored) for factor in factors]
    terms = ",".join(factor.stored for factor in factors)
    return graph.add("Einsum", names, equation=f"{terms}->{target}")
