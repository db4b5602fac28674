"""Images in archives and on the Hub."""

import sys
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flaxblocks.cli.evaluate import labeled_images
from flaxblocks.cli.training import read_images
from flaxblocks.preprocess import photo
from flaxblocks.train.data import Source, TarShards, training_folders
from flaxblocks.train.data.source import Readable
from flaxblocks.train.data.unreadable import UnreadableImages


def encoded(value: int) -> bytes:
    out = BytesIO()
    Image.new("L", (5, 4), value).save(out, "PNG")
    return out.getvalue()


def write(path: Path, files: Sequence[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three archives of two images each, whose brightness tells which they are."""
    for shard in range(3):
        files = []
        for number in (2 * shard, 2 * shard + 1):
            image = (f"{number:04}.png", encoded(10 * number))
            label = (f"{number:04}.cls", str(number % 3).encode())
            files += [label, image] if shard else [image, label]
        write(tmp_path / "train" / f"{shard}.tar", [*files, ("0000.json", b"{}")])
    return tmp_path


def test_every_image_of_every_archive_has_its_class(folder: Path):
    images = TarShards(folder / "train")
    assert isinstance(images, Source)
    assert (len(images), images.classes, images.num_classes) == (6, ("0", "1", "2"), 3)
    for number in (3, 0, 5, 1, 4, 2):  # in any order
        row = images[number]
        assert (photo.rgb(row["image"]).getpixel((0, 0)), row["label"]) == (
            (10 * number,) * 3,
            number % 3,
        )
    assert images.name(3) == f"{folder / 'train' / '1.tar'}/0003.png"
    assert images.per_class() == [2, 2, 2]


def test_classes_have_the_names_in_a_file_or_those_of_a_network(folder: Path):
    (folder / "train" / "classes.txt").write_text("ant\nbee\ncat\ndog\n")
    write(folder / "val" / "0.tar", [("a.b.png", encoded(3)), ("a.cls", b"1\n")])
    images, validation = read_images(str(folder))
    assert images.classes == ("ant", "bee", "cat", "dog")
    assert validation is not None and validation.classes == images.classes
    assert training_folders(folder) == (folder / "train", folder / "val")
    assert labeled_images(folder / "val", ("x", "y"), 2).classes == ("x", "y")
    with pytest.raises(ValueError, match="`classes` must name 3 classes, as the archives have"):
        TarShards(folder / "train", ("x", "y"))


def test_a_damaged_image_is_left_out(tmp_path: Path):
    write(tmp_path / "0.tar", [("a.png", b"no image"), ("a.cls", b"0")])
    unreadable = UnreadableImages(9)
    assert Readable(TarShards(tmp_path), unreadable).row(0, np.asarray) is None
    assert unreadable.new()[0][0] == f"{tmp_path / '0.tar'}/a.png"


REFUSED = [
    ([("a.png", b"")], "must have a class for each image, .* has no .cls for a"),
    ([("a.cls", b"1")], "has no images"),
    ([("a.png", b""), ("a.cls", b"cat")], "cannot be read: invalid literal"),
]


@pytest.mark.parametrize(("files", "words"), REFUSED)
def test_archives_that_are_none_are_refused(files: list, words: str, tmp_path: Path):
    with pytest.raises(ValueError, match=words):
        TarShards([write(tmp_path / "0.tar", files)])


def test_what_is_no_archive_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"`shards` must be \.tar archives, got none"):
        TarShards(tmp_path)
    (tmp_path / "0.tar").write_text("no archive")
    with pytest.raises(ValueError, match=r"0\.tar cannot be read"):
        TarShards(tmp_path)


class ClassLabel:
    names = ("ant", "bee")


class Split(list):
    """What a split of a dataset shows of itself."""

    def __init__(self, rows: list, kind: type = ClassLabel):
        super().__init__(rows)
        self.features = {"picture": type("Image", (), {})(), "kind": kind()}


def test_a_dataset_of_the_hub(monkeypatch):
    rows = [{"picture": Image.new("L", (2, 2), 7), "kind": 1}]
    found: dict[str, Any] = {"train": Split(rows * 3), "test": Split(rows)}
    hub = SimpleNamespace(load_dataset={"some/insects": found}.__getitem__)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    images, validation = read_images("hf:some/insects")
    assert (len(images), images.classes, images[0]["label"]) == (3, ("ant", "bee"), 1)
    assert validation is not None and len(validation) == 1
    found["train"] = Split(rows, kind=dict)
    with pytest.raises(ValueError, match="type ClassLabel, got picture: Image, kind: dict"):
        read_images("hf:some/insects")
    del found["train"]
    with pytest.raises(ValueError, match="must have the split train, it has test"):
        read_images("hf:some/insects")
