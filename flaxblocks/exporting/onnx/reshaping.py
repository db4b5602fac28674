"""Reshapes of arrays that are stored in an order of their own, without moving anything."""

from typing import Any

import numpy as np

from flaxblocks.exporting.onnx.graph import Graph, Order, plain, usual
from flaxblocks.exporting.operation import Operand, Value

Groups = list[tuple[list[int], list[int]]]


def reshaped(graph: Graph, x: Operand, result: Value) -> None:
    """Write a reshape.

    Axes that become one, or that one becomes, are a group. Where each group's axes are neighbors in
    the order in which they are stored, the array stays as it is stored: a channel axis may be split
    in NCHW. Otherwise the axes are put in the program's order first.
    """
    assert isinstance(x, Value)
    stored = graph.stored(x)
    order = stored.order
    target = _target(x.shape, result.shape, order)
    if target is None:
        order, target = plain(len(x.shape)), plain(len(result.shape))
    source = graph.take(x, order)
    sizes = [result.shape[axis] for axis in target]
    name = graph.reshape(source, sizes)
    graph.store(result, name, target)


def _target(before: tuple[Any, ...], after: tuple[Any, ...], order: Order) -> Order | None:
    """Return the order of the result's axes that leaves the array as it is stored, if any does."""
    groups = _groups(before, after)
    if groups is None:
        return None
    place = {axis: place for place, axis in enumerate(a for a in order if before[a] != 1)}
    for given, _ in groups:
        places = [place[axis] for axis in given]
        if places != list(range(places[0], places[0] + len(places))):
            return None
    by_place = sorted(groups, key=lambda group: place[group[0][0]])
    target = tuple(axis for _, made in by_place for axis in made)
    loose = [axis for axis in range(len(after)) if axis not in target]
    return _with_ones(target, loose, len(after))


def _with_ones(target: Order, loose: list[int], rank: int) -> Order:
    """Return the order with new axes of size 1, where the usual order of this rank has them.

    Else they come last, but for those before all others, as the number of images is where it is 1.
    """
    if not loose:
        return target
    wanted = usual(rank)
    if tuple(axis for axis in wanted if axis in target) == target:
        return wanted
    first = [axis for axis in loose if axis < min(target, default=rank)]
    return (*first, *target, *(axis for axis in loose if axis not in first))


def _groups(before: tuple[Any, ...], after: tuple[Any, ...]) -> Groups | None:
    """Return which axes become which, without those of size 1, None where that is not known."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups: Groups = []
    while left and right:
        given, made = [left.pop(0)], [right.pop(0)]
        while (sizes := (_product(before, given), _product(after, made)))[0] != sizes[1]:
            if not all(isinstance(size, int | np.integer) for size in sizes):
                return None
            if sizes[0] < sizes[1] and left:
                given.append(left.pop(0))
            elif sizes[0] > sizes[1] and right:
                made.append(right.pop(0))
            else:
                return None
        groups.append((given, made))
    return None if left or right else groups


def _product(sizes: tuple[Any, ...], axes: list[int]) -> Any:
    product = 1
    for axis in axes:
        product = product * sizes[axis]
    return product
