"""Weight files: what is written is read back, here and in PyTorch, and it costs little memory."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
import torchvision
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from safetensors import safe_open

import flaxblocks as fb
from flaxblocks.models import Backbone, resnet
from flaxblocks.weights.state_dict import NAMES
from tests.helpers.networks import run_by_blocks, run_torch
from tests.helpers.tolerance import bound
from tests.helpers.weight_files import abstract, arrays, assert_equal, network

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_saved_is_loaded_bit_for_bit(suffix: str, names: str, tmp_path: Path):
    source, target = network(), abstract()
    path = fb.save_weights(source, tmp_path / f"weights{suffix}", names=names)
    assert path == tmp_path / f"weights{suffix}"
    fb.load_weights(target, path, names=names)
    assert_equal(target, fb.state_dict(source))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_file_holds_the_state_dict(suffix: str, tmp_path: Path):
    source = network()
    path = fb.save_weights(source, str(tmp_path / f"weights{suffix}"), names="torchvision")
    held = safetensors.torch.load_file(path) if suffix == ".safetensors" else torch.load(path)
    truth = fb.state_dict(source, names="torchvision")
    assert held.keys() == truth.keys()
    assert all(np.array_equal(held[name].numpy(), truth[name]) for name in truth)


def test_the_file_says_that_it_is_pytorchs(tmp_path: Path):
    with safe_open(fb.save_weights(network(), tmp_path / "a.safetensors"), framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_torchvisions_own_module_loads_the_file_and_computes_the_same(tmp_path: Path):
    architecture = resnet.resnet((1, 1, 1, 1), resnet.basic, resnet.NARROW)
    ours = nnx.eval_shape(lambda: Backbone(architecture, rngs=nnx.Rngs(0)))
    fb.load_state_dict(ours, arrays(ours))
    theirs = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1]).eval()
    path = fb.save_weights(ours, tmp_path / "a.safetensors", names="torchvision")
    theirs.load_state_dict(safetensors.torch.load_file(path), strict=True)
    ours.eval()
    image = np.random.default_rng(0).normal(size=(1, 33, 35, 3)).astype(np.float32)
    truth = run_torch(theirs, image)
    atol = bound("float32", "output") * np.abs(truth).max()
    np.testing.assert_allclose(run_by_blocks(ours, image), truth, rtol=0, atol=atol)


def test_a_pth_says_which_version_of_its_layout_it_has(tmp_path: Path):
    """MNASNet's own loading asks for it."""
    ours = nnx.eval_shape(lambda: fb.create_model("mnasnet0_5", rngs=nnx.Rngs(0)))
    theirs, twin = torchvision.models.mnasnet0_5(), torchvision.models.mnasnet0_5()
    fb.load_state_dict(ours, theirs.state_dict(), names="torchvision")
    path = fb.save_weights(ours, tmp_path / "a.pth", names="torchvision")
    twin.load_state_dict(torch.load(path), strict=True)
    assert all(torch.equal(twin.state_dict()[k], v) for k, v in theirs.state_dict().items())


# dtypes


def rounded(module: nnx.Module, dtype: type) -> dict[str, np.ndarray]:
    """Return the module's weights as they are after a stay in a narrow dtype."""
    narrow, own = fb.state_dict(module, dtype=dtype), fb.state_dict(module)
    return {name: value.astype(own[name].dtype) for name, value in narrow.items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_narrow_weights_are_read_exactly_into_the_modules_own_dtype(dtype, suffix, tmp_path: Path):
    source, target = network(), abstract()
    path = fb.save_weights(source, tmp_path / f"a{suffix}", dtype=dtype)
    held = safetensors.torch.load_file(path) if suffix == ".safetensors" else torch.load(path)
    assert held["head.classifier.bias"].dtype == getattr(torch, np.dtype(dtype).name)
    fb.load_weights(target, path)
    assert_equal(target, rounded(source, dtype))


def test_a_module_of_narrow_dtype_keeps_it_unless_another_is_asked_for(tmp_path: Path):
    path = fb.save_weights(network(), tmp_path / "a.safetensors")
    target = abstract(param_dtype=jnp.bfloat16)
    fb.load_weights(target, path)
    assert fb.state_dict(target)["head.classifier.weight"].dtype == jnp.bfloat16
    fb.load_weights(target, path, dtype=jnp.float32)
    assert_equal(target, fb.state_dict(network()))


# Where the state dict is in a checkpoint, and what stands before its names


WRAPPED = {
    "state_dict": lambda sd: {"epoch": 3, "state_dict": sd, "args": Namespace(lr=0.1)},
    "model": lambda sd: {"model": sd, "optimizer": {"state": {}}, "args": Namespace(lr=0.1)},
    "state_dict_ema": lambda sd: {"state_dict_ema": sd, "state_dict": None},
    "model_ema": lambda sd: {
        "model_ema": {"n_averaged": torch.tensor(2)} | {f"module.{k}": v for k, v in sd.items()}
    },
    "parallel": lambda sd: {f"module.{k}": v for k, v in sd.items()},
    "compiled": lambda sd: {f"_orig_mod.{k}": v for k, v in sd.items()},
    "both": lambda sd: {"model": {f"_orig_mod.module.{k}": v for k, v in sd.items()}},
    "both, the other way": lambda sd: {f"module._orig_mod.{k}": v for k, v in sd.items()},
}


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(v) for k, v in fb.state_dict(network(seed)).items()}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_the_state_dict_of_a_training_checkpoint_is_found(wrap, tmp_path: Path):
    torch.save(wrap(tensors()), tmp_path / "a.pth")
    target = abstract()
    fb.load_weights(target, tmp_path / "a.pth")
    assert_equal(target, fb.state_dict(network()))


def test_of_several_state_dicts_one_must_be_chosen(tmp_path: Path):
    torch.save({"state_dict": tensors(1), "state_dict_ema": tensors()}, tmp_path / "a.pth")
    target = abstract()
    with pytest.raises(ValueError, match=r"`key` must say which of state_dict, state_dict_ema"):
        fb.load_weights(target, tmp_path / "a.pth")
    fb.load_weights(target, tmp_path / "a.pth", key="state_dict_ema")
    assert_equal(target, fb.state_dict(network()))


def test_a_prefix_that_the_module_has_itself_stays(tmp_path: Path):
    class Wrapper(nnx.Module):
        def __init__(self, seed: int):
            self.module = fb.Conv(3, 4, 3, rngs=nnx.Rngs(seed))

    path = fb.save_weights(Wrapper(0), tmp_path / "a.pth")
    target = Wrapper(1)
    fb.load_weights(target, path)
    assert_equal(target, fb.state_dict(Wrapper(0)))


def test_the_format_from_before_pytorch_1_6_is_read(tmp_path: Path):
    torch.save(tensors(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    target = abstract()
    fb.load_weights(target, tmp_path / "a.pth")
    assert_equal(target, fb.state_dict(network()))


# Shards


def test_shards_are_written_with_their_index_and_read(tmp_path: Path):
    source, target = network(), abstract()
    index = fb.save_weights(source, tmp_path / "model.safetensors", max_shard_size=20_000)
    truth = fb.state_dict(source)

    assert index == tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    assert content["weight_map"].keys() == truth.keys()
    assert content["metadata"] == {"total_size": sum(a.nbytes for a in truth.values())}
    shards = sorted(tmp_path.glob("*.safetensors"))
    count = len(shards)
    assert count > 2
    assert [p.name for p in shards] == [
        f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)
    ]
    for path in shards:
        held = safetensors.numpy.load_file(path)
        assert sum(a.nbytes for a in held.values()) <= 20_000
        assert {n for n, file in content["weight_map"].items() if file == path.name} == held.keys()

    fb.load_weights(target, index)
    assert_equal(target, truth)


def test_a_tensor_larger_than_a_shard_gets_one_of_its_own(tmp_path: Path):
    source = network()
    index = fb.save_weights(source, tmp_path / "model.safetensors", max_shard_size=1)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(fb.state_dict(source))
    target = abstract()
    fb.load_weights(target, index)
    assert_equal(target, fb.state_dict(source))


def test_what_fits_in_one_file_gets_one(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    assert fb.save_weights(network(), path, max_shard_size=10**9) == path
    assert list(tmp_path.iterdir()) == [path]


# What it costs


def test_safetensors_need_no_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # what an import then finds is an error
    path = fb.save_weights(network(), tmp_path / "a.safetensors", dtype=ml_dtypes.bfloat16)
    target = abstract()
    fb.load_weights(target, path)
    assert_equal(target, rounded(network(), ml_dtypes.bfloat16))
    (tmp_path / "a.pth").touch()
    with pytest.raises(ImportError, match=r"\.pth files need PyTorch"):
        fb.load_weights(target, tmp_path / "a.pth")
    with pytest.raises(ImportError, match=r"\.pt files need PyTorch"):
        fb.save_weights(target, tmp_path / "a.pt")


MEASURE = """
import sys
import jax, flaxblocks as fb
from flax import nnx

def peak():  # getrusage would give the parent's where that is more
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])

stack = nnx.eval_shape(
    lambda: nnx.Sequential(*(fb.Linear(1024, 1024, rngs=nnx.Rngs(0)) for _ in range(64)))
)
jax.device_put(0.0).block_until_ready()
before = peak()
fb.load_weights(stack, sys.argv[1])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_takes_the_memory_of_the_weights_once(tmp_path: Path):
    rng = np.random.default_rng(0)
    weights = {}
    for i in range(64):
        weights[f"{i}.weight"] = rng.random((1024, 1024), np.float32)
        weights[f"{i}.bias"] = rng.random(1024, np.float32)
    safetensors.numpy.save_file(weights, tmp_path / "a.safetensors")
    size = sum(a.nbytes for a in weights.values())
    printed = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "a.safetensors"],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert 0.9 * size < int(printed) < 1.3 * size


def test_an_abstract_module_with_shardings_gets_its_weights_sharded(tmp_path: Path):
    path = fb.save_weights(fb.Linear(4, 8, rngs=nnx.Rngs(0)), tmp_path / "a.safetensors")
    mesh = jax.make_mesh((4,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec(None, "model"))
    target: Any = nnx.eval_shape(lambda: fb.Linear(4, 8, rngs=nnx.Rngs(1)))
    target.kernel = nnx.Param(jax.ShapeDtypeStruct((4, 8), jnp.float32, sharding=spread))
    fb.load_weights(target, path)
    assert target.kernel[...].sharding == spread
    assert_equal(target, fb.state_dict(fb.Linear(4, 8, rngs=nnx.Rngs(0))))


def test_random_weights_differ():
    """The comparisons above would pass on equal networks too."""
    first, second = arrays(abstract(), seed=0), arrays(abstract(), seed=1)
    assert not any(np.array_equal(first[name], second[name]) for name in first if "weight" in name)
