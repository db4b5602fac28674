"""Images in folders and in records, and those that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flaxblocks.preprocess import photo
from flaxblocks.train.data import (
    ImageFolder,
    Records,
    Source,
    UnreadableImages,
    evaluation_folder,
    training_folders,
)
from flaxblocks.train.data.source import Readable
from tests.helpers.tiny_training import damage, make_images


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_images(tmp_path / "images", per_class=2)


def test_classes_are_numbered_by_name(folder):
    (folder / "c" / "notes.txt").write_text("not an image")
    (folder / "c" / "more").mkdir()
    Image.new("L", (3, 4), 7).save(folder / "c" / "more" / "grey.PNG")
    images = ImageFolder(folder)
    assert isinstance(images, Source)
    assert (images.classes, images.num_classes, len(images)) == (("a", "b", "c"), 3, 7)
    assert [images[index]["label"] for index in range(7)] == [0, 0, 1, 1, 2, 2, 2]
    assert images.name(0) == str(folder / "a" / "0.png")
    assert photo.rgb(images[6]["image"]).getpixel((0, 0)) == (7, 7, 7)


def test_known_classes_keep_their_numbers(folder):
    (folder / "b" / "0.png").unlink()
    images = ImageFolder(folder, classes=("x", "c", "b", "a"))
    assert [images[index]["label"] for index in range(len(images))] == [1, 1, 2, 3, 3]


def test_folders_are_matched_by_name_in_any_case(folder):
    (folder / "a").rename(folder / "Apple")
    (folder / "empty").mkdir()
    images = ImageFolder(folder, classes=("b", "apple", "c", "plum"))
    assert [images[index]["label"] for index in range(len(images))] == [0, 0, 1, 1, 2, 2]
    assert images.per_class() == [2, 2, 2, 0]
    # Where case tells two classes apart, it counts.
    exact = ImageFolder(folder, classes=("b", "apple", "Apple", "c"))
    assert exact.per_class() == [2, 0, 2, 2]
    with pytest.raises(ValueError, match="known classes only, such as apple, APPLE; got 'Apple'"):
        ImageFolder(folder, classes=("b", "apple", "APPLE", "c"))


def test_hidden_folders_are_ignored_and_links_are_followed(folder, tmp_path):
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "a" / ".hidden").mkdir()
    for hidden in (folder / ".ipynb_checkpoints", folder / "a" / ".hidden", folder / "a"):
        Image.new("L", (3, 4)).save(hidden / ".x.png")
    elsewhere = make_images(tmp_path / "elsewhere", per_class=3)
    (folder / "a" / "more").symlink_to(elsewhere / "a", target_is_directory=True)
    (folder / "a" / "again").symlink_to(folder / "a", target_is_directory=True)
    (folder / "d").symlink_to(elsewhere / "b", target_is_directory=True)
    images = ImageFolder(folder)
    assert images.classes == ("a", "b", "c", "d")
    assert images.per_class() == [5, 2, 2, 3]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "val"), ("train", "val")),
        (("train", "valid"), ("train", "valid")),
        (("training", "validation"), ("training", "validation")),
        (("train",), ("train", None)),
        ((), ("", None)),
    ],
)
def test_the_parts_of_a_folder_are_found(tmp_path, names, expected):
    for name in names or ("",):
        make_images(tmp_path / name, per_class=1)
    train, validation = training_folders(tmp_path)
    assert train == tmp_path / expected[0]
    assert validation == (expected[1] and tmp_path / expected[1])
    if expected != ("train", None):
        assert evaluation_folder(tmp_path) == tmp_path / (expected[1] or "")


def test_a_class_called_train_is_no_part(tmp_path):
    make_images(tmp_path, per_class=1, classes=("train", "val", "bus"))
    assert training_folders(tmp_path) == (tmp_path, None)
    assert evaluation_folder(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("find", "names", "words"),
    [
        (training_folders, ("val",), "must hold train or training beside val"),
        (training_folders, ("train", "val", "valid"), "must hold one of val, valid, got both"),
        (evaluation_folder, ("training",), "must hold val, valid, validation beside training"),
    ],
)
def test_parts_that_do_not_tell_are_one_sentence(tmp_path, find, names, words):
    for name in names:
        make_images(tmp_path / name, per_class=1)
    with pytest.raises(ValueError, match=words):
        find(tmp_path)


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(
    ("change", "classes", "error", "words"),
    [
        (lambda f: f / "no", None, NotADirectoryError, "`root` must be a folder of images, got"),
        (lambda f: f / "a", None, ValueError, "`root` must have a folder for each class,"),
        (empty, None, ValueError, "every class must have images, and .*empty has none"),
        (lambda f: f, ("a", "b"), ValueError, "of the 2 known classes only, such as a, b; got 'c'"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be_is_one_sentence(
    folder, change, classes, error, words
):
    with pytest.raises(error, match=words):
        ImageFolder(change(folder), classes)


def test_records_are_images_paths_or_arrays(folder):
    pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    rows = [
        {"img": Image.fromarray(pixels), "fine_label": 1},
        {"img": pixels, "fine_label": np.int64(0)},
        {"img": str(folder / "a" / "0.png"), "fine_label": 2},
    ]
    images = Records(rows, 3, image="img", label="fine_label")
    assert isinstance(images, Source)
    assert [images[index]["label"] for index in range(len(images))] == [1, 0, 2]
    assert np.array_equal(images[0]["image"], pixels)
    assert np.array_equal(images[1]["image"], pixels)
    assert images[2]["image"].size == (18, 20)
    with pytest.raises(KeyError, match="record 0 has no 'image', but img, fine_label"):
        Records(rows, 3)[0]


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3), (2, 3, 4)])
def test_records_may_hold_bytes_of_any_kind_of_color(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    if shape[2:] == (4,):
        pixels[..., 3] = 255
    image = Records([{"image": pixels, "label": 0}], 1)[0]["image"]
    color = pixels[..., :3] if len(shape) == 3 else pixels[..., None]
    assert np.array_equal(np.asarray(image), np.broadcast_to(color, (2, 3, 3)))


@pytest.mark.parametrize(
    ("pixels", "error", "words"),
    [
        (np.zeros((2, 2, 3), np.float32), TypeError, "record 0 must hold an image of bytes .* got"),
        (np.zeros((2, 2, 2), np.uint8), ValueError, r"1, 3 or 4 channels, got \(2, 2, 2\)"),
        (np.zeros((4,), np.uint8), ValueError, r"1, 3 or 4 channels, got \(4,\)"),
        (np.zeros((0, 4), np.uint8), ValueError, r"1, 3 or 4 channels, got \(0, 4\)"),
    ],
)
def test_other_arrays_in_records_are_one_sentence(pixels, error, words):
    with pytest.raises(error, match=words):
        Records([{"image": pixels, "label": 0}], 1)[0]


def test_records_are_checked(as_installed):
    with pytest.raises(ValueError, match="`dataset` must have records, got none"):
        Records([], 3)
    with pytest.raises(ValueError, match="`num_classes` must be a positive integer"):
        Records([{}], 0)


@pytest.mark.parametrize("label", [-1, 3, "cat", None, 1.0])
def test_a_label_out_of_range_is_one_sentence(label):
    images = Records([{"image": np.zeros((2, 2, 3), np.uint8), "label": label}], 3)
    with pytest.raises(ValueError, match="label of record 0 must be an integer from 0 to 2, got"):
        Readable(images, UnreadableImages(1)).row(0, np.asarray)


def test_an_image_that_cannot_be_read_is_reported_once(folder):
    damage(folder / "b" / "0.png")
    (folder / "c" / "1.png").write_text("no picture")
    images = ImageFolder(folder)
    found = UnreadableImages(len(images))
    readable = Readable(images, found)
    for _ in range(2):
        found_none = [readable.row(index, np.asarray) is None for index in range(6)]
        assert found_none == [0, 0, 1, 0, 0, 1]
    assert found.count == 2
    (first, second) = found.new()
    assert first[0] == str(folder / "b" / "0.png")
    assert "truncated" in first[1]
    assert second[0] == str(folder / "c" / "1.png")
    assert found.new() == []


def test_too_many_images_that_cannot_be_read_are_an_error():
    found = UnreadableImages(total=3)
    found.add("a.png", "it is empty")
    with pytest.raises(ValueError, match=r"2 of 3 images cannot be read, such as b\.png"):
        found.add("b.png", "it is gone")
