"""Weight files as training scripts leave them: what is beside the weights and before names."""

import argparse
import datetime
from collections import OrderedDict, defaultdict, deque
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import safetensors.torch
import torch
from flax import nnx
from torchvision.models import get_model

import flaxblocks as fb
from flaxblocks.weights.prefixes import without_prefixes
from tests.helpers.networks import SMALLEST
from tests.helpers.weight_files import abstract, assert_equal, network, refused


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(v) for k, v in fb.state_dict(network(seed)).items()}


def defaults() -> defaultdict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    found["a"].append(3)
    return found


BESIDE = {
    "numpy": [np.float64(0.7), np.int64(3), np.bool_(True), np.arange(3.0), np.float32(2)],
    "paths": [Path("/data/run"), PureWindowsPath("C:/data")],
    "containers": [defaults(), deque([1, 2]), OrderedDict(a=1), {1, 2}, (1, "a"), None],
    "options": [argparse.Namespace(lr=0.1), datetime.datetime(2026, 1, 2)],
    "a tensor": torch.tensor(76.1),
}


@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_plain_values_beside_the_weights_are_read(beside, tmp_path: Path):
    torch.save({"state_dict": tensors(), "epoch": 3, "beside": beside}, tmp_path / "a.pth.tar")
    target = abstract()
    fb.load_weights(target, tmp_path / "a.pth.tar")
    assert_equal(target, fb.state_dict(network()))


class Options:
    """What a pickle would have to import."""


def test_other_values_are_named_and_refused(tmp_path: Path):
    torch.save({"state_dict": tensors(), "options": Options()}, tmp_path / "a.ckpt")
    message = r"asks for tests\.weights\.test_wild_files\.Options: refused, and nothing in it was"
    refused(ValueError, message, tmp_path / "a.ckpt")


def test_numpy_arrays_are_weights_too(tmp_path: Path):
    torch.save(fb.state_dict(network()), tmp_path / "a.bin")
    target = abstract()
    fb.load_weights(target, tmp_path / "a.bin")
    assert_equal(target, fb.state_dict(network()))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "backbone.", "encoder."])
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", None])
def test_a_prefix_before_all_names_is_dropped_everywhere(prefix, suffix, tmp_path: Path):
    found = {f"{prefix}{name}": value for name, value in tensors().items()}
    target = abstract()
    if suffix is None:
        fb.load_state_dict(target, found)
    else:
        path = tmp_path / f"a{suffix}"
        if suffix == ".ckpt":
            torch.save({"state_dict": found, "pytorch-lightning_version": "2.5"}, path)
        else:
            safetensors.torch.save_file(found, path)
        fb.load_weights(target, path)
    assert_equal(target, fb.state_dict(network()))


@pytest.mark.parametrize(
    ("given", "needed", "expected"),
    [
        (["model.module.a", "model.module.b"], {"a", "b"}, ["a", "b"]),
        (["model.a", "b"], {"a", "b"}, ["model.a", "b"]),
        (["model.a"], {"model.a"}, ["model.a"]),
        (["module.a", "n_averaged"], {"a"}, ["a"]),
        ([], {"a"}, []),
    ],
)
def test_what_is_dropped_is_before_all_names_and_not_the_modules_own(given, needed, expected):
    assert list(without_prefixes(dict.fromkeys(given), needed)) == expected


@pytest.mark.parametrize(
    "family",
    [f if f == "MNASNet" else pytest.param(f, marks=pytest.mark.slow) for f in SMALLEST],
)
def test_each_of_torchvisions_networks_loads_what_we_hand_out(family):
    theirs, twin = get_model(SMALLEST[family]), get_model(SMALLEST[family])
    ours = nnx.eval_shape(lambda: fb.create_model(SMALLEST[family], rngs=nnx.Rngs(0)))
    fb.load_state_dict(ours, theirs.state_dict(), names="torchvision")
    twin.load_state_dict(fb.torch_state_dict(ours, "torchvision"))
    assert all(torch.equal(twin.state_dict()[k], v) for k, v in theirs.state_dict().items())


# Other kinds of files and of tensors


@pytest.mark.parametrize("protocol", [4, 5])
def test_another_protocol_is_named(protocol, tmp_path: Path):
    torch.save(tensors(), tmp_path / "a.pth", pickle_protocol=protocol)
    refused(ValueError, rf"a\.pth is with protocol {protocol}", tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated")
def test_torchscript_is_named(tmp_path: Path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pt")
    refused(ValueError, r"a\.pt is TorchScript: save what torch\.jit\.load", tmp_path / "a.pt")


def quantized() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(10), 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore:.*quantiz:UserWarning", "ignore:.*quantiz:DeprecationWarning")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda: 3, r"\(int\)"),
        (lambda: "text", r"\(str\)"),
        (lambda: torch.ones(10).to(torch.float8_e4m3fn), r"\(torch.float8_e4m3fn\)"),
        (lambda: torch.ones(10).to_sparse(), r"\(torch.sparse_coo\)"),
        (quantized, r"\(quantized, torch.qint8\)"),
        (lambda: torch.ones(10, device="meta"), r"\(on the meta device, without values\)"),
    ],
)
def test_what_is_no_dense_array_is_named_and_not_the_rest(value, words):
    target = network(seed=1)
    with pytest.raises(ValueError, match=words) as caught:
        fb.load_state_dict(target, tensors() | {"head.classifier.bias": value()})
    assert "head.classifier.bias" in str(caught.value)
    assert len(str(caught.value)) < 200
    assert_equal(target, fb.state_dict(network(seed=1)))


# What does not fit


CAUSES = {
    "prefix": (
        lambda sd: {f"net.{k}": v for k, v in sd.items()} | {"projector.weight": np.ones(3)},
        "its names begin with 'net.', but for 1 of another part",
    ),
    "head": (
        lambda sd: sd | {"head.classifier.weight": np.ones((3, 16)), "head.classifier.bias": [1.0]},
        "it has another head for `num_classes` [13], the module has 10; `new_head` keeps",
    ),
    "no head": (
        lambda sd: {k: v for k, v in sd.items() if "classifier" not in k},
        "it has another head; `new_head` keeps",
    ),
    "another network": (
        lambda sd: {f"layers.{k}": np.ones(3) for k in sd},
        "it is of another network; 0 of 62 tensors fit",
    ),
    "little": (
        lambda sd: sd | {"stem.layers.0.conv.weight": np.ones(3)},
        "73 of 74 tensors fit",
    ),
}


@pytest.mark.parametrize(("change", "words"), CAUSES.values(), ids=CAUSES)
def test_the_likeliest_cause_comes_first_in_at_most_20_lines(change, words):
    given = {k: np.asarray(v) for k, v in change(fb.state_dict(network())).items()}
    with pytest.raises(ValueError, match=words) as caught:
        fb.load_state_dict(abstract(), given)
    assert len(str(caught.value).splitlines()) <= 20
    assert len(str(caught.value)) < 1500


def test_another_known_network_is_named_by_its_size():
    ours = nnx.eval_shape(lambda: fb.create_model("resnet18", rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="it has as many parameters as resnet34"):
        fb.load_state_dict(ours, get_model("resnet34").state_dict(), names="torchvision")
