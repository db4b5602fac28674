"""The interface of a source of images, and how its images are read and checked."""

import itertools
from collections.abc import Callable
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from flaxblocks.train.data.unreadable import UnreadableImages

UNREADABLE = (OSError, ValueError, SyntaxError)
"""What reading a damaged image raises; Pillow has SyntaxError for a broken PNG."""


class Example(TypedDict):
    """An image and its class.

    Args:
        image: a Pillow image, whose pixels need not be decoded yet.
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
    """A source whose images that cannot be read or prepared are reported and left out.

    Args:
        source: the images.
        unreadable: collects those that are left out.
    """

    def __init__(self, source: Source, unreadable: UnreadableImages):
        self.source = source
        self.unreadable = unreadable

    def row(self, index: int, prepare: Callable[[Any], np.ndarray]) -> dict[str, np.ndarray] | None:
        """Return a prepared image and its label as arrays, or None.

        Args:
            index: which image.
            prepare: turns a Pillow image into an array; raises ValueError for one that it cannot
                take, such as one that is too elongated.

        Raises:
            ValueError: if the label is out of range, or too many images are left out.
        """
        from flaxblocks.preprocess import photo

        name = self.source.name(index)
        try:
            example = self.source[index]
            with photo.readable(name):
                image = prepare(example["image"])
        except UNREADABLE as error:
            self.unreadable.add(name, str(error))
            return None
        label: Any = example["label"]
        if not isinstance(label, int | np.integer) or not 0 <= label < self.source.num_classes:
            raise ValueError(
                f"the label of {name} must be an integer from 0 to "
                f"{self.source.num_classes - 1}, got {label!r}"
            )
        return {"image": image, "label": np.asarray(label, np.int32)}

    def next_row(self, index: int, prepare: Callable[[Any], np.ndarray]) -> dict[str, np.ndarray]:
        """Return a prepared image and its label: the first that can be read, from `index` on.

        Args:
            index: which image.
            prepare: see `row`.

        Raises:
            ValueError: see `row`.
        """
        places = itertools.cycle(range(len(self.source)))
        for place in itertools.islice(places, index, None):
            if (row := self.row(place, prepare)) is not None:
                return row
        raise AssertionError("more than half of the images are unreadable, which `row` refuses")
