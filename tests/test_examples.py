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
from tests.helpers.tiny_training import make_images, register_tiny

pytestmark = pytest.mark.usefixtures("quick")

sys.path.append(str(Path(__file__).parents[1] / "examples"))
COMMON = ["--epochs", "2", "--batch-size", "4", "--input-size", "32"]


@pytest.fixture
def images(tmp_path) -> Path:
    for part in ("train", "val"):
        make_images(tmp_path / "images" / part, per_class=3)
    return tmp_path / "images"


@pytest.fixture(autouse=True)
def tiny():
    register_tiny()


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
    model = fb.create_model("tiny", num_classes=3, rngs=nnx.Rngs(7))
    return fb.save_weights(model, tmp_path / "weights.safetensors")


def test_fine_tuning_begins_with_the_weights(images, weights, tmp_path):
    options = ["--model", "tiny", "--weights", str(weights)]
    trained = run("fine_tune", images, tmp_path / "out", *options)
    before = load_file(weights)
    assert trained.keys() == before.keys()
    distance = {name: np.abs(trained[name] - before[name]).max() for name in before}
    assert 0 < distance["stem.layers.0.conv.weight"] < 0.01


@pytest.mark.parametrize("options", [pytest.param([], marks=pytest.mark.slow), ["--shard"]])
def test_training_on_all_devices(images, tmp_path, options):
    run("many_devices", images / "train", tmp_path / "out", "--model", "tiny", *options)


def test_distilling(images, weights, tmp_path):
    options = ["--teacher", "tiny", "--teacher-weights", str(weights), "--student", "tiny"]
    run("distil", images / "train", tmp_path / "out", *options)


@pytest.mark.slow
def test_fine_tuning_a_network_of_torchvisions(images, tmp_path):
    """What is written goes back into PyTorch."""
    torch.manual_seed(0)
    torch.save(get_model("mobilenet_v3_small").state_dict(), tmp_path / "weights.pth")
    options = ["--model", "mobilenet_v3_small", "--weights", str(tmp_path / "weights.pth")]
    trained = run("fine_tune", images, tmp_path / "out", *options)
    state_dict = {name: torch.from_numpy(array) for name, array in trained.items()}
    get_model("mobilenet_v3_small", num_classes=3).load_state_dict(state_dict)
