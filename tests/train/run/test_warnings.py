"""What is likely a mistake about a run is said before it begins, with its numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flaxblocks.train import Cosine, Decay
from flaxblocks.train.data import ImageFolder, Records
from flaxblocks.train.data.source import Source
from flaxblocks.train.run.recipes import QUICK
from flaxblocks.train.run.warnings import warnings
from tests.helpers.tiny_training import make_images

GRAY = [{"image": np.zeros((2, 2), np.uint8), "label": 0}] * 8


def said(images: Source, steps: int = 40, **changes: object) -> list[str]:
    """Return the warnings about a run of ten epochs in batches of 256."""
    recipe = replace(QUICK, epochs=10, learning_rate=0.5, schedule=Cosine(warmup=1))
    return list(warnings(replace(recipe, **changes), images, steps, 256))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"schedule": Cosine(warmup=10)}, ["warm-up of 10 epochs is not over when the run ends"]),
        ({"schedule": Decay(0.1, every=30, warmup=12.5)}, ["warm-up of 12.5 epochs", "after 10"]),
        ({"schedule": Cosine(warmup=20)}, ["rises to 0.244, never to its peak of 0.5"]),
    ],
)
def test_a_schedule_that_does_not_fit_the_run(changes: dict, words: list[str]):
    text = "\n".join(said(Records(GRAY, 1), **changes))
    assert all(part in text for part in words)
    assert bool(text) == bool(words)


def test_a_class_with_one_image(tmp_path: Path):
    make_images(tmp_path, per_class=2)
    for name in "bc":
        (tmp_path / name / "1.png").unlink()
    assert said(ImageFolder(tmp_path)) == [
        "the class 'b' has 1 image to learn from, as have 1 others"
    ]
    (tmp_path / "c" / "0.png").rename(tmp_path / "a" / "2.png")
    (tmp_path / "c").rmdir()
    assert said(ImageFolder(tmp_path)) == ["the class 'b' has 1 image to learn from"]
