"""The example scripts run on images of noise, by default with a network that compiles fast."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from flax import nnx
from safetensors.numpy import load_file
from torchvision.models import get_model

import flaxblocks as fb
from flaxblocks.train.run.json_log import read_log
from tests.helpers.tiny_training import Tiny, make_images

sys.path.append(str(Path(__file__).parents[1] / "examples"))
COMMON = ["--epochs", "2", "--batch-size", "4", "--image-size", "32"]


@pytest.fixture
def images(tmp_path) -> Path:
    for part in ("train", "val"):
        make_images(tmp_path / "images" / part, per_class=3)
    return tmp_path / "images"


@pytest.fixture
def tiny(monkeypatch):
    """Make every network the tiny one, whose weights have our names only."""
    native = {name: getattr(fb, name) for name in ("load_weights", "save_weights")}

    def create_model(name: str, *, num_classes: int, rngs: nnx.Rngs) -> Tiny:
        return Tiny(num_classes, rngs=rngs)

    def load_weights(model, source, names="native", *, new_head=False):
        native["load_weights"](model, source)

    def save_weights(model, path, names="native"):
        return native["save_weights"](model, path)

    for function in (create_model, load_weights, save_weights):
        monkeypatch.setattr(fb, function.__name__, function)


def run(example: str, images: Path, out: Path, *options: str) -> dict[str, np.ndarray]:
    """Run an example, check its log, and return the weights that it leaves."""
    import_module(example).main([str(images), str(out), *COMMON, *options])
    log = read_log(out / "log.jsonl")
    assert all(np.isfinite(line["loss"]) for line in log if "loss" in line)
    assert log[-1]["step"] == 4
    assert (out / "curves.png").stat().st_size
    return load_file(out / "model.safetensors")


@pytest.fixture
def weights(tmp_path) -> Path:
    return fb.save_weights(Tiny(rngs=nnx.Rngs(7)), tmp_path / "weights.safetensors")


def test_fine_tuning_begins_with_the_weights(images, weights, tmp_path, tiny):
    trained = run("fine_tune", images, tmp_path / "out", "--weights", str(weights))
    before = load_file(weights)
    assert trained.keys() == before.keys()
    distance = {name: np.abs(trained[name] - before[name]).max() for name in before}
    assert 0 < distance["stem.conv.weight"] < 0.01


@pytest.mark.parametrize("options", [[], ["--shard"]])
def test_training_on_all_devices(images, tmp_path, tiny, options):
    run("many_devices", images / "train", tmp_path / "out", *options)


def test_distilling(images, weights, tmp_path, tiny):
    run("distil", images / "train", tmp_path / "out", "--teacher-weights", str(weights))


@pytest.mark.slow
def test_fine_tuning_a_network_of_torchvisions(images, tmp_path):
    """What is written goes back into PyTorch."""
    torch.manual_seed(0)
    torch.save(get_model("mobilenet_v3_small").state_dict(), tmp_path / "weights.pth")
    options = ["--model", "mobilenet_v3_small", "--weights", str(tmp_path / "weights.pth")]
    trained = run("fine_tune", images, tmp_path / "out", *options)
    state_dict = {name: torch.from_numpy(array) for name, array in trained.items()}
    get_model("mobilenet_v3_small", num_classes=3).load_state_dict(state_dict)
