"""README.md's lines that need a download, with a small network in the place of the large one."""

import re
from pathlib import Path

import pytest
from flax import nnx

import flaxblocks as fb
from tests.helpers.tiny_training import make_images, register_tiny

pytestmark = pytest.mark.usefixtures("quick")

README = (Path(__file__).parents[2] / "README.md").read_text()
CLASSIFY, FINE_TUNE = re.findall(r"```py\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def names(tmp_path, monkeypatch) -> dict:
    """Return a namespace for the lines, in a folder with photographs."""
    register_tiny()
    make_images(tmp_path / "photos" / "train", per_class=32)
    (tmp_path / "photos" / "train" / "a" / "0.png").rename(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)

    def create_model(name: str, *, weights: str, num_classes: int = 1000, rngs: nnx.Rngs):
        assert weights in (fb.model_info(name).weights[0].tag, "default")
        return make("tiny", num_classes=num_classes, rngs=rngs)

    make = fb.create_model
    monkeypatch.setattr(fb, "create_model", create_model)
    return {}


def test_the_lines_that_classify(names):
    assert len([line for line in CLASSIFY.splitlines() if line]) == 5
    exec(CLASSIFY, names)
    assert names["logits"].shape == (1, 1000)


@pytest.mark.slow
def test_the_lines_that_fine_tune(names, tmp_path):
    assert len([line for line in FINE_TUNE.splitlines() if line]) == 5
    exec(CLASSIFY + FINE_TUNE, names)
    assert int(names["state"].step) > 0
    assert (tmp_path / "run" / "index.html").exists()
