"""Batches: which images are in them, in which order, and where they go on."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flaxblocks as fb
from flaxblocks.train.data import (
    Augment,
    Feed,
    ImageFolder,
    Records,
    UnreadableImages,
    evaluation_batches,
    training_batches,
)
from tests.helpers.tiny_training import RECIPE, damage, make_images

IMAGES = 22
AUGMENT = Augment(8, RECIPE.crop, RECIPE.augmentations)


class Numbered(Records):
    """Images of one pixel whose red tells which it is."""

    def __init__(self, images: int = IMAGES):
        pixels = [np.full((8, 8, 3), index, np.uint8) for index in range(images)]
        rows = [{"image": p, "label": index % 4} for index, p in enumerate(pixels)]
        super().__init__(rows, 4)


PLAIN = Augment(8)


def take(dataset, batches: int) -> list[dict[str, np.ndarray]]:
    with Feed(dataset, lambda batch: batch) as feed:
        return [next(feed) for _ in range(batches)]


def which(batches: list[dict[str, np.ndarray]]) -> list[int]:
    return [int(image[0, 0, 0]) for batch in batches for image in batch["image"]]


def training(source=None, augment=PLAIN, batch_size=4, **options):
    source = source or Numbered()
    return training_batches(
        source, augment, batch_size=batch_size, unreadable=UnreadableImages(len(source)), **options
    )


def test_an_epoch_has_each_image_at_most_once():
    epochs = [which(take(training(), 10)[start : start + 5]) for start in (0, 5)]
    for epoch in epochs:
        assert len(set(epoch)) == 20
    assert epochs[0] != epochs[1]
    assert set(epochs[0]) | set(epochs[1]) != set(epochs[0])


def test_batches_are_bytes_and_labels():
    batch, *_ = take(training(), 1)
    assert (batch["image"].shape, batch["image"].dtype) == ((4, 8, 8, 3), np.uint8)
    assert (batch["label"].shape, batch["label"].dtype) == ((4,), np.int32)
    assert (batch["label"] == batch["image"][:, 0, 0, 0] % 4).all()


def test_the_seed_fixes_order_and_augmentation():
    def pixels(seed: int) -> bytes:
        batches = take(training(augment=AUGMENT, seed=seed), 7)
        return b"".join(batch["image"].tobytes() for batch in batches)

    assert pixels(1) == pixels(1) != pixels(2)


def test_processes_share_the_same_images():
    whole = take(training(augment=AUGMENT), 8)
    parts = [take(training(augment=AUGMENT, process=p, processes=2), 8) for p in (0, 1)]
    for number, batch in enumerate(whole):
        for process in (0, 1):
            for name in ("image", "label"):
                assert np.array_equal(parts[process][number][name], batch[name][process::2])


def test_it_goes_on_where_it_was():
    dataset = training(augment=AUGMENT)
    with Feed(dataset, lambda batch: batch) as feed:
        for _ in range(7):
            next(feed)
        position = json.loads(json.dumps(feed.position()))
        expected = [next(feed) for _ in range(6)]
    with Feed(dataset, lambda batch: batch) as feed:
        feed.go_to(position)
        for batch in expected:
            got = next(feed)
            assert all(np.array_equal(got[name], batch[name]) for name in batch)


@pytest.fixture
def broken(tmp_path) -> Path:
    folder = make_images(tmp_path / "images", per_class=4)
    damage(folder / "b" / "1.png")
    return folder


def test_training_leaves_out_what_cannot_be_read(broken):
    source, found = ImageFolder(broken), UnreadableImages(12)
    batches = take(training_batches(source, AUGMENT, batch_size=4, unreadable=found), 9)
    assert all(len(batch["label"]) == 4 for batch in batches)
    ((name, _),) = found.new()
    assert name == str(broken / "b" / "1.png")


def test_an_image_that_cannot_be_read_moves_no_other(broken):
    def batches(**share: int) -> list[dict[str, np.ndarray]]:
        return take(training(ImageFolder(broken), AUGMENT, **share), 7)

    whole, parts = batches(), [batches(process=p, processes=2) for p in (0, 1)]
    Image.new("RGB", (12, 12)).save(broken / "b" / "1.png")
    mended, differing = batches(), 0
    for number, batch in enumerate(whole):
        for process in (0, 1):
            assert np.array_equal(parts[process][number]["image"], batch["image"][process::2])
        differing += (mended[number]["image"] != batch["image"]).any((1, 2, 3)).sum()
    assert differing == 2  # once in each of two epochs, and not in a third of the next


def test_where_most_cannot_be_read_training_ends(broken):
    for file in broken.rglob("*.png"):
        file.write_text("no picture")
    source, found = ImageFolder(broken), UnreadableImages(12)
    with pytest.raises(ValueError, match=r"\d+ of 12 images cannot be read, such as .*png: "):
        take(training_batches(source, AUGMENT, batch_size=4, unreadable=found), 9)


def test_a_label_out_of_range_ends_training():
    source = Numbered()
    source.num_classes = 3
    with pytest.raises(ValueError, match=r"the label of record .* from 0 to 2, got 3"):
        take(training(source), 5)


def evaluation(source, found=None, size=8, **options) -> list[dict[str, np.ndarray]]:
    dataset = evaluation_batches(
        source,
        fb.Preprocess(size, size),
        batch_size=8,
        unreadable=found or UnreadableImages(len(source)),
        **options,
    )
    with Feed(dataset, lambda batch: batch) as feed:
        return list(feed)


def test_evaluation_sees_every_image_once_in_order():
    batches = evaluation(Numbered())
    labels, weights = (np.concatenate([b[k] for b in batches]) for k in ("label", "weight"))
    assert weights.tolist() == [1] * IMAGES + [0] * 2
    assert labels[:IMAGES].tolist() == [index % 4 for index in range(IMAGES)]
    assert len(batches) == 3
    assert all(batch["image"].dtype == np.float32 for batch in batches)
    expected = fb.Preprocess(8, 8)(Numbered()[9]["image"])[0]
    assert np.array_equal(batches[1]["image"][1], expected)


def test_evaluation_in_processes_has_as_many_batches():
    parts = [evaluation(Numbered(17), process=p, processes=2) for p in (0, 1)]
    assert [len(part) for part in parts] == [3, 3]
    assert sum(batch["weight"].sum() for part in parts for batch in part) == 17


def test_evaluation_does_not_count_what_cannot_be_read(broken):
    found = UnreadableImages(12)
    batches = evaluation(ImageFolder(broken), found)
    assert sum(batch["weight"].sum() for batch in batches) == 11
    assert found.count == 1


def test_an_image_that_is_too_elongated_counts_as_one_that_cannot_be_read(tmp_path):
    folder = make_images(tmp_path / "images", per_class=2)
    Image.new("RGB", (1, 60_000)).save(folder / "b" / "0.png")
    found = UnreadableImages(6)
    batches = evaluation(ImageFolder(folder), found, size=64)
    assert sum(batch["weight"].sum() for batch in batches) == 5
    ((name, reason),) = found.new()
    assert name == str(folder / "b" / "0.png")
    assert "must not be so elongated: 1 x 60000" in reason and "PIL" not in reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 23}, "`batch_size` must be at most 22 images, got 23"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer, got 0"),
        ({"process": 0, "processes": 3}, "`batch_size` must be a multiple of 3 processes, got 4"),
    ],
)
def test_the_batch_size_is_checked(options, words):
    with pytest.raises(ValueError, match=words):
        training(**options)
