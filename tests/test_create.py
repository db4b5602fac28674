"""Networks by name with trained weights, and networks of one's own by name."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax.core import Tracer

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.layers import initializers
from flaxblocks.models import ModelRecord, PublishedWeights
from tests.helpers.weight_files import ARCHITECTURE, Server, assert_equal, network, serving

pytestmark = pytest.mark.usefixtures("quick")

PREPROCESS = fb.Preprocess(40, 32)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def tiny(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register a residual network with published weights of 10 classes; return their file."""
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(tmp_path / "cache"))
    path = fb.save_weights(network(), tmp_path / "weights.safetensors")
    name = f"/tiny-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.safetensors"
    newest = PublishedWeights("V2", server.put(name, path), PREPROCESS, num_classes=10)
    gone = PublishedWeights("V1", server.url + "/gone-01234567.pth", fb.Preprocess(36, 32))
    fb.register_model(
        ModelRecord("tiny", ARCHITECTURE, preprocess=PREPROCESS, weights=(newest, gone))
    )
    return path


def made(weights, **options) -> fb.models.Backbone:
    return fb.create_model("tiny", weights=weights, rngs=nnx.Rngs(0), **options)


SOURCES = {
    "default": lambda path, url: "default",
    "tag": lambda path, url: "V2",
    "path": lambda path, url: path,
    "text": lambda path, url: str(path),
    "address": lambda path, url: url,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_weights_come_from_anywhere_with_their_own_classes(source, tiny: Path):
    url = fb.model_info("tiny").published("V2").source
    assert_equal(made(source(tiny, url)), fb.state_dict(network()))
    assert made(source(tiny, url)).name == "tiny"


@pytest.mark.parametrize("names", ["native", "torchvision", "timm"])
def test_a_file_tells_whose_names_it_has(names: str, tmp_path: Path):
    path = fb.save_weights(network(), tmp_path / "named.safetensors", names=names)
    assert_equal(made(path), fb.state_dict(network()))
    target = network(seed=1)
    fb.load_weights(target, path)
    assert_equal(target, fb.state_dict(network()))


def test_nothing_is_drawn_that_the_weights_hold(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    draw = initializers._scaled

    def recorded(sample, key, shape, dtype, scale):
        if not isinstance(key, Tracer):
            drawn.append(shape)
        return draw(sample, key, shape, dtype, scale)

    monkeypatch.setattr(initializers, "_scaled", recorded)
    made("V2")
    assert drawn == []
    made("V2", num_classes=7)
    assert sorted(drawn) == [(7,), (16, 7)]
    made(None)
    assert len(drawn) > 10


def test_another_number_of_classes_makes_a_new_head_and_keeps_the_rest():
    model, other = made("V2", num_classes=7), fb.state_dict(network())
    head = {name for name in other if name.startswith("head.classifier")}
    state = fb.state_dict(model)
    assert state["head.classifier.weight"].shape == (7, 16)
    assert np.abs(state["head.classifier.weight"]).max() > 0
    assert all(np.array_equal(state[name], other[name]) for name in other.keys() - head)
    again = fb.create_model("tiny", weights="V2", num_classes=7, rngs=nnx.Rngs(0))
    other_key = fb.create_model("tiny", weights="V2", num_classes=7, rngs=nnx.Rngs(1))
    assert_equal(again, state)
    assert not np.array_equal(
        fb.state_dict(other_key)["head.classifier.weight"], state["head.classifier.weight"]
    )


def test_no_classes_leave_out_the_classifier():
    model = made("V2", num_classes=0)
    assert model.head.classifier is None and model.num_classes == 0
    assert model(jnp.ones((2, 32, 32, 3))).shape == (2, 16)


def test_the_classes_of_a_file_count_where_none_are_asked_for(tmp_path: Path):
    path = fb.save_weights(made(None, num_classes=0), tmp_path / "headless.safetensors")
    assert made(path).num_classes == 0
    assert made(path, num_classes=5).num_classes == 5
    assert made(None).num_classes == 1000


def test_other_channels_adapt_the_first_kernel(tiny: Path):
    grey, rgb = made("V2", in_features=1), network()
    (kernel,), (whole,) = ([unit.conv.kernel[...] for unit in m.stem.layers] for m in (grey, rgb))
    np.testing.assert_allclose(kernel, whole.sum(2, keepdims=True), rtol=1e-6)


def test_what_drops_at_random_can_run():
    model = made("V2", drop_rate=0.5, drop_path_rate=0.5)
    assert model.head.dropout is not None
    first, second = (model(jnp.ones((2, 32, 32, 3))) for _ in range(2))
    assert np.isfinite(first).all() and not np.array_equal(first, second)


def test_arrays_have_the_dtype_of_the_parameters():
    assert made("V2", param_dtype=jnp.bfloat16).head.classifier.kernel.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("V3", ValueError, "`weights` of tiny must be V2 or V1, got 'V3'"),
        ("no.pth", FileNotFoundError, "`source` does not exist: no.pth"),
        ("V1", FileNotFoundError, "`source` does not exist: .*gone-01234567.pth"),
        ("torchvision:resnet18/IMAGENET1K_V1", ValueError, "must be for tiny, got 'torchvision:"),
        ("torchvision:resnet18/V9", ValueError, "must be torchvision:resnet18/IMAGENET1K_V1, got"),
    ],
)
def test_weights_that_there_are_not(weights: str, error: type, message: str):
    with pytest.raises(error, match=message):
        made(weights)


def test_a_seed_in_place_of_streams_is_refused(as_installed):
    seed: Any = 0
    with pytest.raises(TypeError, match=r"`rngs` must be nnx.Rngs, .* got 0"):
        fb.create_model("tiny", weights="V2", rngs=seed)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    weights = fb.state_dict(network()) | {"surplus": np.zeros(3, np.float32)}
    path = tmp_path / "other.pth"
    torch.save({name: torch.from_numpy(np.asarray(a)) for name, a in weights.items()}, path)
    with pytest.raises(ValueError, match=r"other.pth: .* does not fit tiny(.|\n)*surplus"):
        made(path)


def test_the_preprocessing_is_that_of_the_weights(tmp_path: Path):
    assert fb.create_preprocess("tiny") == fb.create_preprocess("tiny", "default") == PREPROCESS
    assert fb.create_preprocess("tiny", "V1").resize == 36
    renamed = tmp_path / "gone-01234567.pth"  # as the second weights are published
    assert fb.create_preprocess("tiny", renamed).resize == 36
    assert fb.create_preprocess("tiny", tmp_path / "other.pth") == PREPROCESS
    assert fb.create_preprocess("resnet50", "torchvision:resnet50/IMAGENET1K_V1").resize == 256
    # no network is asked about what is published
    hub = fb.create_preprocess("timm/resnet50", "hf-hub:timm/resnet50.ra_in1k")
    assert hub == fb.create_preprocess("timm/resnet50", "ra_in1k")


def test_a_network_of_ones_own_has_a_summary(capsys):
    assert main(["summary", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "tiny at 32 x 32 pixels" in out
    assert main(["models", "tiny"]) == 0
    assert capsys.readouterr().out.startswith("tiny  (native)")


def test_a_network_of_ones_own_saves_and_loads_by_name(tmp_path: Path):
    model = made(None, num_classes=4)
    path = fb.save_weights(model, tmp_path / "own.safetensors", names="native")
    assert_equal(made(path), fb.state_dict(model))
