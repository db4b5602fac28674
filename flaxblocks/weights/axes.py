"""How JAX's libraries lay out an array, next to PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any


@dataclass(frozen=True)
class Axes:
    """An exchange of axes, then a joining or splitting of neighbors.

    Args:
        axes: the library's axes in PyTorch's order; none where they have it.
        own: the library's shape; only asked for where axes are joined or split.
        torch: PyTorch's shape; that of the exchanged axes where absent.
        mirrored: PyTorch's axes that run the other way.
    """

    axes: tuple[int, ...] | None = None
    own: tuple[int, ...] | None = None
    torch: tuple[int, ...] | None = None
    mirrored: tuple[int, ...] = ()

    def shape(self, own: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in PyTorch of an array of a shape."""
        order = range(len(own)) if self.axes is None else self.axes
        return tuple(own[i] for i in order) if self.torch is None else self.torch

    def to_torch(self, array: Any) -> Any:
        """Return an array in PyTorch's layout."""
        array = array if self.axes is None else array.transpose(self.axes)
        return self._mirrored(array if self.torch is None else array.reshape(self.torch))

    def from_torch(self, array: Any) -> Any:
        """Return PyTorch's array in the library's layout."""
        array = self._mirrored(array)
        axes = tuple(range(array.ndim if self.own is None else len(self.own)))
        axes = axes if self.axes is None else self.axes
        if self.own is not None:
            array = array.reshape([self.own[i] for i in axes])
        return (
            array
            if self.axes is None
            else array.transpose([axes.index(i) for i in range(len(axes))])
        )

    def _mirrored(self, array: Any) -> Any:
        if not self.mirrored:
            return array
        return array[
            tuple(slice(None, None, -1 if i in self.mirrored else None) for i in range(array.ndim))
        ]


AS_IT_IS = Axes()
LINEAR = Axes((1, 0))  # (in, out)


def conv(ndim: int) -> Axes:
    """Return the layout of a kernel (window, in, out)."""
    return Axes((ndim - 1, ndim - 2, *range(ndim - 2)))


def transposed_conv(ndim: int, mirrored: bool = True) -> Axes:
    """Return the layout of a transposed convolution's kernel (window, in, out)."""
    window = tuple(range(2, ndim)) if mirrored else ()
    return Axes((ndim - 2, ndim - 1, *range(ndim - 2)), mirrored=window)


def joined(own: Sequence[int], torch: Sequence[int], axes: Sequence[int] | None = None) -> Axes:
    """Return the layout of an array that has other axes in PyTorch, joined or split."""
    return Axes(None if axes is None else tuple(axes), tuple(own), tuple(torch))


def depthwise(own: tuple[int, ...]) -> Axes:
    """Return the layout of a depthwise kernel (window, in, multiplier)."""
    *window, channels, multiplier = own
    n = len(window)
    return joined(own, (channels * multiplier, 1, *window), (n, n + 1, *range(n)))


def matrix(own: tuple[int, ...], inputs: int = 1) -> Axes:
    """Return the layout of a projection from axes to axes, such as heads, as one of vectors.

    Args:
        own: the kernel's shape, its inputs first.
        inputs: how many axes it takes.
    """
    order = (*range(inputs, len(own)), *range(inputs))
    return joined(own, (prod(own[inputs:]), prod(own[:inputs])), order)


def flat(own: tuple[int, ...]) -> Axes:
    """Return the layout of an array that is a vector in PyTorch."""
    return joined(own, (prod(own),))
