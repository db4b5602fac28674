"""Images in a sequence of records, such as a dataset of Hugging Face's `datasets`."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from flaxblocks._base import checks
from flaxblocks.train.data.source import Example


class Records:
    """Images in records, as Pillow images, paths, or bytes in an array: a `Source`.

    An array of bytes has the shape ``(h, w)`` or ``(h, w, c)`` with 1, 3 or 4 channels: gray, RGB,
    or RGB with alpha.

    >>> rows = [{"image": np.zeros((8, 8, 3), np.uint8), "label": 1}]
    >>> Records(rows, num_classes=2)[0]["image"].size
    (8, 8)

    Args:
        dataset: dictionaries by index, with a length.
        num_classes: number of classes.
        classes: names of the classes; empty where nobody named them.
        image: key of the image in a record.
        label: key of the label in a record.

    Raises:
        TypeError: if `num_classes` is not an integer.
        ValueError: if `dataset` is empty, or `num_classes` is not positive.
    """

    def __init__(
        self,
        dataset: Any,
        num_classes: int,
        *,
        classes: Sequence[str] = (),
        image: str = "image",
        label: str = "label",
    ):
        self.classes = tuple(classes)
        self.num_classes = checks.positive_int("num_classes", num_classes)
        if not len(dataset):
            raise ValueError("`dataset` must have records, got none")
        self._dataset = dataset
        self._image = image
        self._label = label

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Example:
        """Return an image and its label.

        Raises:
            ImportError: if Pillow is not installed.
            KeyError: if the record has no such entry.
            TypeError: if the image is of none of these types.
            ValueError: if it cannot be read as an image.
        """
        from flaxblocks.preprocess import photo

        record = self._dataset[index]
        for key in (self._image, self._label):
            if key not in record:
                raise KeyError(f"{self.name(index)} has no {key!r}, but {', '.join(record)}")
        image = record[self._image]
        if isinstance(image, np.ndarray):
            image = photo.from_bytes(cast("np.ndarray", image), self.name(index))
        return Example(image=photo.rgb(image), label=record[self._label])

    def name(self, index: int) -> str:
        """Return a record's name for messages."""
        return f"record {index}"
