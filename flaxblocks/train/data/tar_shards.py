"""Images in tar archives, the layout of WebDataset."""

import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flaxblocks.train.data.image_folder import SUFFIXES
from flaxblocks.train.data.source import Example

LABEL = ".cls"
SUFFIX = ".tar"
CLASSES = "classes.txt"


@dataclass(frozen=True)
class Member:
    """Where an image lies in its archive, and its class.

    Args:
        shard: index of the archive.
        name: of the file.
        offset: of its first byte.
        size: in bytes.
        label: its class's number; None before it is known.
    """

    shard: int
    name: str
    offset: int
    size: int
    label: int | None = None


class TarShards:
    """Images in tar archives beside their classes: ``0017.jpg`` and ``0017.cls``, a `Source`.

    Files that belong together have the same name up to its first dot. ``.cls`` holds the class's
    number. The archives are indexed once and then read in any order, by several threads at a
    time; they must not be compressed.

    Args:
        shards: the archives, or a folder of them.
        classes: names of the classes in the order of their numbers; the lines of ``classes.txt``
            in the folder, where there is one, or else the numbers themselves.

    Attributes:
        classes: names of the classes.
        num_classes: number of classes.

    Raises:
        FileNotFoundError: if there is no archive.
        ValueError: if an archive is damaged or compressed, an image has no class, or a class has
            no name.
    """

    def __init__(
        self,
        shards: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        classes: Sequence[str] | None = None,
    ):
        if isinstance(shards, str | os.PathLike):
            folder = Path(shards)
            self.paths = archives(folder)
            if classes is None and (folder / CLASSES).is_file():
                classes = (folder / CLASSES).read_text(encoding="utf-8").splitlines()
        else:
            self.paths = [Path(path) for path in shards]
        if not self.paths:
            raise FileNotFoundError(f"`shards` must be {SUFFIX} archives, got none in {shards}")
        self._files = [path.open("rb") for path in self.paths]
        self._images = [
            image for number, path in enumerate(self.paths) for image in _images(number, path)
        ]
        most = 1 + max(_label(image) for image in self._images)
        self.classes = tuple(map(str, range(most)) if classes is None else classes)
        self.num_classes = len(self.classes)
        if most > self.num_classes:
            raise ValueError(
                f"`classes` must name {most} classes, as the archives have, got {self.num_classes}"
            )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Example:
        """Return an image and its label.

        Raises:
            ImportError: if Pillow is not installed.
            ValueError: if it cannot be read as an image.
        """
        from flaxblocks.preprocess import partial, photo

        image = self._images[index]
        # At a place, not from the last one on: several threads share the file.
        content = os.pread(self._files[image.shard].fileno(), image.size, image.offset)
        with photo.readable(self.name(index)):
            return Example(image=partial.opened(content), label=_label(image))

    def per_class(self) -> list[int]:
        """Return the number of images of each class."""
        counts = [0] * self.num_classes
        for image in self._images:
            counts[_label(image)] += 1
        return counts

    def name(self, index: int) -> str:
        """Return an image's name: the archive's, and its own in it."""
        image = self._images[index]
        return f"{self.paths[image.shard]}/{image.name}"


def archives(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the archives in a folder, sorted; none where there is no folder."""
    return sorted(Path(folder).glob(f"*{SUFFIX}"))


def _images(shard: int, path: Path) -> list[Member]:
    """Return the images of an archive.

    Raises:
        ValueError: if it cannot be read, or an image has no class.
    """
    images: dict[str, Member] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, name = os.path.split(member.name)
                key = os.path.join(folder, name.partition(".")[0])
                suffix = os.path.splitext(name)[1].lower()
                if suffix in SUFFIXES:
                    images[key] = Member(shard, member.name, member.offset_data, member.size)
                elif suffix == LABEL and (file := archive.extractfile(member)) is not None:
                    labels[key] = int(file.read())
    except (tarfile.TarError, ValueError) as error:
        raise ValueError(f"`shards`: {path} cannot be read: {error}") from error
    missing = images.keys() - labels.keys()
    if missing or not images:
        lacking = f"no {LABEL} for {min(missing)}" if missing else "no images"
        raise ValueError(f"`shards` must have a class for each image, {path} has {lacking}")
    return [replace(image, label=labels[key]) for key, image in images.items()]


def _label(image: Member) -> int:
    assert image.label is not None
    return image.label
