"""The Hugging Face layout: timm takes what we write, and computes the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm.data.config import resolve_data_config
from torchvision.models import get_model

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.models import Backbone
from flaxblocks.weights.card import Card
from flaxblocks.weights.origin import resolve
from flaxblocks.weights.twins import ONLY_TORCHVISIONS, networks_of, timm_twin
from parity.checks.tolerance import bound
from tests.helpers.tiny_training import PREPROCESS

NAMES = [name for name in fb.list_models() if not name.startswith("timm/")]
CLASSES = ("daisy", "rose", "tulip")
PHOTOS = fb.Preprocess(232, 224, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))


def abstract(name: str, num_classes: int = 1000) -> Backbone:
    return nnx.eval_shape(lambda: fb.create_model(name, num_classes=num_classes, rngs=nnx.Rngs(0)))


def torchvisions(name: str, num_classes: int = 3) -> torch.nn.Module:
    """Return torchvision's network with random weights and statistics."""
    torch.manual_seed(0)
    network = get_model(name, num_classes=num_classes).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.01, 0.3)  # so small that an epsilon shows
    return network


def timms(name: str, **options: Any) -> torch.nn.Module:
    """Return timm's network of the same function."""
    architecture, numbers = timm_twin(name)
    arguments: dict[str, Any] = {**numbers, **options}
    return timm.create_model(architecture, num_classes=3, **arguments)


def run_of(name: str, folder: Path) -> torch.nn.Module:
    """Make a run's folder with torchvision's weights, and return torchvision's network."""
    theirs = torchvisions(name)
    ours = abstract(name, num_classes=3)
    fb.load_state_dict(ours, theirs.state_dict(), names="torchvision")
    folder.mkdir()
    fb.save_weights(ours, folder / "model.safetensors", names="torchvision")
    Card(name, 3, PHOTOS, names="torchvision", classes=CLASSES).write(folder)
    return theirs


@torch.no_grad()
def assert_same_function(one: torch.nn.Module, other: torch.nn.Module, size: int = 64):
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    truth = one.double()(x)
    difference = (truth - other.double().eval()(x)).abs().max()
    assert difference <= bound("float64", "output") * truth.abs().max()


@pytest.mark.parametrize(
    "name", ["resnet18", pytest.param("mobilenet_v3_small", marks=pytest.mark.slow)]
)
def test_timm_takes_a_run(name, tmp_path, capsys):
    theirs = run_of(name, tmp_path / "run")
    out = tmp_path / "hub"
    assert main(["convert", str(tmp_path / "run"), str(out), "--to", "hub"]) == 0
    assert "read back and equal" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    network: Any = timm.create_model(f"local-dir:{out}", pretrained=True)
    assert_same_function(theirs, network)
    data = resolve_data_config({}, model=network)
    assert fb.Preprocess.from_timm(data | {"crop_mode": "center"}) == PHOTOS
    assert network.pretrained_cfg["label_names"] == list(CLASSES)
    # With other classes timm makes a new head, for which it must know the old one's name.
    assert timm.create_model(f"local-dir:{out}", pretrained=True, num_classes=5).num_classes == 5
    path = str(out / "model.safetensors")
    assert_same_function(theirs, timms(name, checkpoint_path=path))


def test_a_folder_of_this_layout_is_read_back(tmp_path):
    theirs = run_of("resnet18", tmp_path / "run")
    run = fb.load_run(tmp_path / "run")
    fb.save_pretrained(run.model, tmp_path / "hub", preprocess=PHOTOS, classes=CLASSES)
    origin = resolve(None, tmp_path / "hub")
    assert (origin.name, origin.preprocess) == ("timm/resnet18", PHOTOS)
    assert origin.labels(3) == CLASSES
    for name in ("timm/resnet18", "resnet18"):
        again = fb.create_model(name, weights=tmp_path / "hub", rngs=nnx.Rngs(0))
        got = fb.state_dict(again, "torchvision")
        assert all(np.array_equal(got[k], v.numpy()) for k, v in theirs.state_dict().items())
    with pytest.raises(ValueError, match="the checkpoint is of 'resnet18', `module` is 'resnet34'"):
        fb.create_model("resnet34", weights=tmp_path / "hub", rngs=nnx.Rngs(0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n in NAMES if not n.startswith((*ONLY_TORCHVISIONS, "regnet_y_128gf"))]
)
def test_every_twin_is_the_same_function(name):
    theirs = torchvisions(name)
    ours = abstract(name, num_classes=3)
    fb.load_state_dict(ours, theirs.state_dict(), names="torchvision")
    network = timms(name)
    tensors = {k: torch.from_numpy(v) for k, v in fb.state_dict(ours, "timm").items()}
    network.load_state_dict(tensors)
    assert_same_function(theirs, network)


@pytest.mark.parametrize("name", NAMES)
def test_timm_has_every_twin(name):
    if name.startswith(ONLY_TORCHVISIONS):
        with pytest.raises(ValueError, match="`model` must be a network that timm has"):
            timm_twin(name)
    else:
        architecture, arguments = timm_twin(name)
        assert timm.is_model(architecture)
        assert name in networks_of({"architecture": architecture, "model_args": arguments})


def test_an_epsilon_tells_networks_apart():
    config = {"architecture": "mobilenetv3_small_100", "model_args": {"bn_eps": 1e-3}}
    assert networks_of(config) == ["mobilenet_v3_small"]
    assert networks_of(config | {"model_args": {}}) == ["timm/mobilenetv3_small_100"]
    assert networks_of({"architecture": "fbnetc_100"}) == ["timm/fbnetc_100"]


@pytest.mark.parametrize(
    ("make", "classes", "words"),
    [
        (lambda: fb.Conv(3, 4, 3, rngs=nnx.Rngs(0)), (), "`model` must be a network that create"),
        (lambda: abstract("mnasnet1_3"), (), "`model` must be a network that timm has"),
        (lambda: abstract("resnet18"), ("a",), "must name the 1000 outputs, got 1 names"),
    ],
)
def test_what_timm_cannot_have_is_refused(make, classes, words, tmp_path, as_installed):
    with pytest.raises(ValueError, match=words):
        fb.save_pretrained(make(), tmp_path / "out", preprocess=PREPROCESS, classes=classes)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_known_network_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_tiny"}))
    with pytest.raises(ValueError, match="no network here is what timm calls 'vit_tiny'"):
        resolve(None, tmp_path)
