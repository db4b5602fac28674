"""Images in folders, one folder for each class."""

import os
from collections.abc import Sequence
from pathlib import Path

from flaxblocks.train.data.source import Example

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""Suffixes of image files; other files are ignored."""


class ImageFolder:
    """Images in ``root/class/.../file.jpg``, a `Source`.

    Args:
        root: the folder with a folder for each class.
        classes: names of the classes in the order of their labels, such as those that a network
            was trained on; the names of the folders, sorted, where absent.

    Attributes:
        classes: names of the classes.
        num_classes: number of classes.

    Raises:
        NotADirectoryError: if `root` is not a folder.
        ValueError: if `root` has no folders, one of them has no images, or one of them is not
            among `classes`.
    """

    def __init__(self, root: str | os.PathLike[str], classes: Sequence[str] | None = None):
        self.root = Path(root)
        if not self.root.is_dir():
            raise NotADirectoryError(f"`root` must be a folder of images, got {root}")
        found = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir())
        if not found:
            raise ValueError(f"`root` must have a folder for each class, {root} has none")
        self.classes = tuple(found if classes is None else classes)
        self.num_classes = len(self.classes)
        unknown = sorted(set(found) - set(self.classes))
        if unknown:
            raise ValueError(
                f"`root` {root} must have folders of the {self.num_classes} known classes only, "
                f"got {unknown[0]!r}"
            )
        self._files = [
            (file, label)
            for label, name in enumerate(self.classes)
            if name in found
            for file in _images(self.root / name)
        ]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Example:
        """Return an image and its label.

        Raises:
            FileNotFoundError: if the file is gone.
            ImportError: if Pillow is not installed.
            ValueError: if it cannot be read as an image.
        """
        from flaxblocks.preprocess import photo

        file, label = self._files[index]
        return Example(image=photo.rgb(file), label=label)

    def name(self, index: int) -> str:
        """Return an image's path."""
        return self._files[index][0]


def _images(folder: Path) -> list[str]:
    files = sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES
    )
    if not files:
        raise ValueError(f"every class must have images, and {folder} has none")
    return files
