"""The geometry of a 2-D convolution: sizes, strides, padding, dilation and groups."""

from dataclasses import dataclass, replace
from math import prod

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """The numbers that relate input ``(n, h, w, c)``, kernel and output.

    ``output[y] = sum over t of input[y * stride + t * dilation - padding low] * kernel[t]`` along
    each of the two axes. All are known when the program is traced.

    Args:
        image: height and width of the input in pixels.
        window: height and width of the kernel in taps.
        strides: step of the window in pixels.
        padding: ``(low, high)`` zeros in pixels for each axis; negative numbers crop.
        dilation: distance between the kernel's taps in pixels.
        groups: blocks into which the channels are split.
    """

    image: Pair
    window: Pair
    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int

    @property
    def padded(self) -> Pair:
        """Height and width of the input with its padding."""
        (top, bottom), (left, right) = self.padding
        return self.image[0] + top + bottom, self.image[1] + left + right

    @property
    def output(self) -> Pair:
        """Height and width of the output."""
        rows, columns = (
            (size - dilation * (taps - 1) - 1) // stride + 1
            for size, taps, stride, dilation in zip(
                self.padded, self.window, self.strides, self.dilation, strict=True
            )
        )
        return rows, columns

    @property
    def taps(self) -> list[Pair]:
        """The kernel's positions, row by row."""
        return [(i, j) for i in range(self.window[0]) for j in range(self.window[1])]

    @property
    def is_pointwise(self) -> bool:
        """Whether the kernel is one tap."""
        return prod(self.window) == 1

    def with_groups(self, groups: int) -> "Geometry":
        """Return the same numbers for another number of groups."""
        return replace(self, groups=groups)
