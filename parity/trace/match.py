"""Finds a PyTorch tensor among a JAX program's values, however it is laid out there."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
import torch

from parity.trace.jax_program import Value

AGREES = 1e-9  # of the root mean square: float64 runs agree far better, float32 ones worse
TELLING = 1e-4  # of it: what rounding moves further is told from nothing


class Index:
    """The values of a JAX program, found by what they hold.

    Two arrays hold the same where one becomes the other by exchanging axes, and by joining or
    splitting neighbors: numbers drawn at random do not do so by chance.
    """

    def __init__(self, values: Sequence[Value]):
        self.values = values
        places: defaultdict[int, list[int]] = defaultdict(list)
        for i, value in enumerate(values):
            if np.isfinite(value.array).all():
                places[value.array.size].append(i)
        self.places = {size: np.array(found) for size, found in places.items()}
        self.moments = {
            size: np.array([moments(values[i].array) for i in found])
            for size, found in places.items()
        }

    def find(self, tensor: torch.Tensor, drift: float = 0.0) -> frozenset[int]:
        """Return the numbers of the values that hold what the tensor holds.

        Args:
            tensor: what is looked for.
            drift: how far rounding alone may move its numbers, beside what it usually does; where
                that is too far to tell two numbers apart, nothing is found.
        """
        if not tensor.is_floating_point() or tensor.numel() not in self.places:
            return frozenset()
        array = tensor.detach().numpy().astype(np.float64)
        own = moments(array)
        scale = max(float(own[1]), 1e-300)
        if drift > TELLING * scale:
            return frozenset()
        limit = max(AGREES * scale, drift)
        near = np.abs(self.moments[array.size] - own).max(1) <= limit
        return frozenset(
            i
            for i in map(int, self.places[array.size][near])
            if is_same(self.values[i].array, array, 10 * limit)
        )


def is_same(first: np.ndarray, second: np.ndarray, limit: float) -> bool:
    """Return whether two arrays hold the same but for the order and the grouping of their axes."""
    return any(difference <= limit for difference in _differences(first, second))


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return how far apart they are in the layout in which they are nearest."""
    return min(_differences(first, second), default=float("inf"))


def _differences(first: np.ndarray, second: np.ndarray) -> Iterator[float]:
    for one, other in ((first, second), (second, first)):
        yield from (float(np.abs(a - b).max()) for a, b in _laid_out(one, other))


def _laid_out(array: np.ndarray, like: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the array with its axes in each order, in the shape of the other."""
    own, shape = np.squeeze(array), np.squeeze(like).shape
    for axes in permutations(range(own.ndim)):
        turned = own.transpose(axes)
        if turned.shape == shape or len(shape) < own.ndim:
            yield turned.reshape(shape), np.squeeze(like)


def moments(array: np.ndarray) -> np.ndarray:
    """Return the mean and the root mean square."""
    flat = np.ravel(array)
    return np.array([flat.mean(), np.sqrt(np.square(flat).mean())])
