"""A short run of a network whose statistics have a long memory."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flaxblocks.cli import main
from flaxblocks.weights.card import read_card


def digits(folder: Path) -> Path:
    """Write 900 handwritten digits to train on and 300 to judge by, of 32 x 32 pixels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))[:1200]
    for place, index in enumerate(order):
        part = "train" if place < 900 else "val"
        path = folder / part / str(labels[index])
        path.mkdir(parents=True, exist_ok=True)
        pixels = (images[index].reshape(8, 8) * 15.9).astype(np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(path / f"{place}.png")
    return folder


@pytest.mark.slow
def test_mobilenet_v3_learns_digits_in_54_steps(tmp_path):
    """Its running statistics still hold more than half of their first values at the end."""
    data, out = digits(tmp_path / "digits"), tmp_path / "out"
    options = ["--recipe", "quick", "--batch-size", "100", "--epochs", "6", "--input-size", "32"]
    command = ["train", "--model", "mobilenet_v3_small", "--data", str(data), "--out", str(out)]
    assert main([*command, *options]) == 0
    assert read_card(out).metrics["accuracy"] > 0.8
