"""What a source of images has to offer, and how each of its images is read."""

from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from flaxblocks.train.data.unreadable import UnreadableImages

UNREADABLE = (OSError, ValueError, SyntaxError)
"""What a damaged image raises, Pillow's SyntaxError for a broken PNG among it."""


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
    """Images with labels, in any order that stays the same.

    Attributes:
        num_classes: how many classes there are; labels lie below.
    """

    num_classes: int

    def __len__(self) -> int:
        """Return how many images there are."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Return an image and its label.

        Raises:
            OSError: if the image cannot be read.
            ValueError: if it is damaged.
        """
        ...

    def name(self, index: int) -> str:
        """Return what to call an image in a message, such as its path."""
        ...


class Readable:
    """The images of a source that can be read; the others are None, and reported.

    Args:
        source: the images.
        damage: where those that cannot be read are reported.
    """

    def __init__(self, source: Source, damage: UnreadableImages):
        self.source = source
        self.damage = damage

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
            self.damage.add(self.source.name(index), str(error))
            return None
        label = example["label"]
        if not isinstance(label, int | np.integer) or not 0 <= label < self.source.num_classes:
            raise ValueError(
                f"the label of {self.source.name(index)} must be an integer from 0 to "
                f"{self.source.num_classes - 1}, got {label!r}"
            )
        return Example(image=example["image"], label=int(label))
