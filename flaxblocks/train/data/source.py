"""The interface of a source of images, and how its images are read and checked."""

from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from flaxblocks.train.data.unreadable import UnreadableImages

UNREADABLE = (OSError, ValueError, SyntaxError)
"""What reading a damaged image raises; Pillow has SyntaxError for a broken PNG."""


class Example(TypedDict):
    """An image and its class.

    Args:
        image: a Pillow image in RGB.
        label: the class's number.
    """

    image: Any
    label: int


@runtime_checkable
class Source(Protocol):
    """Images with labels, in a fixed order.

    Attributes:
        num_classes: number of classes; labels are from 0 to ``num_classes - 1``.
    """

    num_classes: int

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Return an image and its label.

        Raises:
            OSError: if the image cannot be read.
            ValueError: if it is damaged.
        """
        ...

    def name(self, index: int) -> str:
        """Return an image's name for messages, such as its path."""
        ...


class Readable:
    """A source whose unreadable images are reported and given as None.

    Args:
        source: the images.
        unreadable: collects those that cannot be read.
    """

    def __init__(self, source: Source, unreadable: UnreadableImages):
        self.source = source
        self.unreadable = unreadable

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example | None:
        """Return an image and its label, or None.

        Raises:
            ValueError: if the label is out of range.
        """
        try:
            example = self.source[index]
        except UNREADABLE as error:
            self.unreadable.add(self.source.name(index), str(error))
            return None
        label = example["label"]
        if not isinstance(label, int | np.integer) or not 0 <= label < self.source.num_classes:
            raise ValueError(
                f"the label of {self.source.name(index)} must be an integer from 0 to "
                f"{self.source.num_classes - 1}, got {label!r}"
            )
        return Example(image=example["image"], label=int(label))
