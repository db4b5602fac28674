"""Code that needs downloads and photographs, with a small network in the place of a large one."""

import re
from pathlib import Path

import pytest
import torch
import torchvision
from flax import nnx

import flaxblocks as fb
from tests.docs.test_pages import PAGES
from tests.helpers.tiny_training import make_images, register_tiny

pytestmark = pytest.mark.usefixtures("quick")

CODE = {page.name: re.findall(r"```py\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES}
CLASSIFY, FINE_TUNE = CODE["README.md"]
(START,) = CODE["start.md"]
QUANTIZE, TO_TORCH = CODE["export.md"]


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


@pytest.mark.parametrize("code", [CLASSIFY, START], ids=["README.md", "start.md"])
def test_the_lines_that_classify(code, names, as_installed):
    exec(code, names)
    assert names["logits"].shape == (1, 1000)


@pytest.mark.slow
def test_the_lines_that_fine_tune(names, tmp_path):
    exec(CLASSIFY + FINE_TUNE, names)
    assert int(names["state"].step) > 0
    assert (tmp_path / "run" / "index.html").exists()


@pytest.mark.parametrize("code", [CLASSIFY, FINE_TUNE])
def test_five_lines_are_enough(code):
    assert len([line for line in code.splitlines() if line]) == 5


@pytest.mark.slow
def test_the_lines_that_quantize(names):
    names |= {"fb": fb, "preprocess": fb.create_preprocess("tiny")}
    names["model"] = fb.create_model("resnet18", weights="default", rngs=nnx.Rngs(0))
    names["photos"] = sorted(Path("photos/train/b").iterdir())
    exec(QUANTIZE, names)
    photo = names["preprocess"](names["photos"][0])
    logits = fb.load_exported("flowers.onnx")(photo.repeat(14, 1).repeat(14, 2))
    assert logits.shape == (1, 1000)


@pytest.mark.slow
def test_the_lines_that_go_back_to_pytorch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = torchvision.models.resnet50(num_classes=5).state_dict()
    torch.save(weights, "model.pth")
    names = {"torch": torch, "torchvision": torchvision}
    exec(TO_TORCH, names)
    assert torch.equal(names["model"].fc.weight, weights["fc.weight"])


def test_no_other_page_has_code_that_is_not_run():
    assert {page for page, found in CODE.items() if found} == {"README.md", "start.md", "export.md"}
