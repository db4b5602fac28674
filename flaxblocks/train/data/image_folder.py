"""Images in folders, one folder for each class."""

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from flaxblocks.train.data.source import Example

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"))
"""Suffixes of image files; other files are ignored."""


class ImageFolder:
    """Images in ``root/class/.../file.jpg``, a `Source`.

    Hidden files and folders, such as ``.ipynb_checkpoints``, are ignored, and links are followed.

    Args:
        root: the folder with a folder for each class.
        classes: names of the classes in the order of their labels, such as those that a network
            was trained on; the names of the folders, sorted, where absent. Folders are matched
            by name, in another case too where that is no second class; a class may have none.

    Attributes:
        classes: names of the classes.
        num_classes: number of classes.

    Raises:
        NotADirectoryError: if `root` is not a folder.
        ValueError: if `root` has no images, a class has none while `classes` is absent, or a
            folder of images is not among `classes`.
    """

    def __init__(self, root: str | os.PathLike[str], classes: Sequence[str] | None = None):
        self.root = Path(root)
        if not self.root.is_dir():
            raise NotADirectoryError(f"`root` must be a folder of images, got {root}")
        folders = class_folders(self.root)
        if not folders:
            raise ValueError(f"`root` must have a folder for each class, {root} has none")
        found = {name: sorted(_images(self.root / name)) for name in folders}
        empty = [name for name, files in found.items() if not files]
        if classes is None and empty:
            raise ValueError(f"every class must have images, and {self.root / empty[0]} has none")
        if len(empty) == len(folders):
            raise ValueError(f"`root` must have images, {root} has none")
        self.classes = tuple(folders if classes is None else classes)
        self.num_classes = len(self.classes)
        named = _matched([name for name in folders if found[name]], self.classes, self.root)
        self._files = [
            (file, label)
            for label, name in enumerate(self.classes)
            for folder in named.get(name, ())
            for file in found[folder]
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
        from flaxblocks.preprocess import partial, photo

        file, label = self._files[index]
        with photo.readable(file):
            return Example(image=partial.opened(Path(file).read_bytes()), label=label)

    def name(self, index: int) -> str:
        """Return an image's path."""
        return self._files[index][0]

    def per_class(self) -> list[int]:
        """Return the number of images of each class."""
        counts = [0] * self.num_classes
        for _, label in self._files:
            counts[label] += 1
        return counts


def class_folders(root: str | os.PathLike[str]) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and _shown(entry.name))


def _matched(folders: Sequence[str], classes: Sequence[str], root: Path) -> dict[str, list[str]]:
    """Return the folders of each class.

    Raises:
        ValueError: if a folder is of no class.
    """
    same_in_lower_case: dict[str, list[str]] = {}
    for name in classes:
        same_in_lower_case.setdefault(name.casefold(), []).append(name)
    named: dict[str, list[str]] = {}
    for folder in folders:
        similar = [folder] if folder in classes else same_in_lower_case.get(folder.casefold(), [])
        if len(similar) != 1:
            known = similar or get_close_matches(folder, classes, n=3, cutoff=0.4) or classes[:3]
            raise ValueError(
                f"`root` {root} must have folders of the {len(classes)} known classes only, such "
                f"as {', '.join(known)}; got {folder!r}"
            )
        named.setdefault(similar[0], []).append(folder)
    return named


def _images(folder: Path) -> Iterator[str]:
    """Yield the image files below a folder, each folder once, whatever links there are."""
    seen: set[str] = set()
    for parent, below, files in os.walk(folder, followlinks=True):
        below[:] = [name for name in sorted(below) if _shown(name)]
        if os.path.realpath(parent) in seen:
            below.clear()
            continue
        seen.add(os.path.realpath(parent))
        for name in files:
            if _shown(name) and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.join(parent, name)


def _shown(name: str) -> bool:
    return not name.startswith(".")
