"""Bad files: one clear error each, the module untouched, nothing run, nothing half written."""

import json
import os
import pickle
import re
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from flax import nnx

import flaxblocks as fb
from tests.weight_files import abstract, arrays, assert_equal, network


def refused(kind: type[Exception], message: str, source, **arguments) -> str:
    """Fail unless loading raises this in one sentence and leaves the module as it was."""
    target = network(seed=1)
    with pytest.raises(kind, match=message) as caught:
        fb.load_weights(target, source, **arguments)
    assert_equal(target, fb.state_dict(network(seed=1)))
    return str(caught.value)


def saved(folder: Path, suffix: str, changes: dict[str, np.ndarray] | None = None) -> Path:
    """Write the weights of a network that fits, with changes."""
    weights = arrays(abstract()) | (changes or {})
    path = folder / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.numpy.save_file(weights, path)
    else:
        torch.save({k: torch.from_numpy(np.asarray(v)) for k, v in weights.items()}, path)
    return path


both_kinds = pytest.mark.parametrize("suffix", [".safetensors", ".pth"])


# What is not there, or is something else


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".safetensors.index.json", ""])
def test_a_path_that_does_not_exist(suffix: str, tmp_path: Path):
    path = tmp_path / f"missing{suffix}"
    refused(FileNotFoundError, rf"`source` does not exist: {re.escape(str(path))}", path)


def test_a_folder(tmp_path: Path):
    refused(IsADirectoryError, "`source` must be a file, .* is a folder", tmp_path)


def test_an_unknown_suffix(tmp_path: Path):
    (tmp_path / "weights.npz").touch()
    refused(
        ValueError, r"`source` must end in \.safetensors, .*\.pth.* got", tmp_path / "weights.npz"
    )


def test_unknown_names(tmp_path: Path):
    refused(
        ValueError,
        "`names` must be one of .* got 'keras'",
        saved(tmp_path, ".safetensors"),
        names="keras",
    )


# Damage


@pytest.mark.parametrize("part", [0, 0.001, 0.1, 0.5, 0.999])
@both_kinds
def test_a_truncated_file(suffix: str, part: float, tmp_path: Path):
    path = saved(tmp_path, suffix)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    refused(ValueError, "`source` is damaged or not a", path)


@both_kinds
def test_a_file_of_something_else(suffix: str, tmp_path: Path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"<html>not found</html>" * 100)
    refused(ValueError, "`source` is damaged or not a", path)


@pytest.mark.parametrize("size", [10, 1000, -10])
def test_a_truncated_file_from_before_pytorch_1_6(size: int, tmp_path: Path):
    path = tmp_path / "a.pth"
    weights = {k: torch.from_numpy(v) for k, v in arrays(abstract()).items()}
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:size])
    refused(ValueError, "`source` is damaged or not a file of torch.save", path)


def test_a_type_that_numpy_has_not(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(2).to(torch.float8_e4m3fn)}, path)
    refused(ValueError, r"`source` must hold tensors of types .* has w \(F8_E4M3\)", path)


# What does not fit


@both_kinds
def test_extra_and_missing_names_are_all_listed(suffix: str, tmp_path: Path):
    path = saved(tmp_path, suffix, {"first": np.ones(2), "second": np.ones(3)})
    message = refused(ValueError, "nothing was loaded", path)
    assert message.splitlines() == [
        f"`source` {path}: `state_dict` does not fit ResNet, nothing was loaded:",
        "  unexpected first, shape (2,)",
        "  unexpected second, shape (3,)",
    ]


def test_a_wrong_architecture(tmp_path: Path):
    path = fb.save_weights(fb.MBConv(8, 8, rngs=nnx.Rngs(0)), tmp_path / "a.safetensors")
    message = refused(ValueError, "does not fit ResNet, nothing was loaded", path)
    assert "missing head.classifier.weight" in message
    assert "unexpected depthwise.conv.weight" in message


def test_names_of_another_vendor_are_recognised(tmp_path: Path):
    path = fb.save_weights(network(), tmp_path / "a.safetensors", names="torchvision")
    refused(
        ValueError, r'nothing was loaded; these are the names of `names="(torchvision|timm)"`', path
    )


@both_kinds
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(value: float, suffix: str, tmp_path: Path):
    weights = arrays(abstract())
    first, second = "stem.layers.0.norm.running_var", "head.classifier.weight"
    for name in (first, second):
        weights[name].flat[3] = value
    path = saved(tmp_path, suffix, weights)
    message = refused(ValueError, "has NaN or infinite values, nothing was loaded", path)
    assert sorted(re.findall(r"(\S+) \(as float32\)", message)) == [second, first]


def test_a_value_too_large_for_the_dtype_is_named(tmp_path: Path):
    path = saved(tmp_path, ".safetensors", {"head.classifier.bias": np.full(10, 1e5, np.float32)})
    refused(
        ValueError,
        r"infinite values.*: head\.classifier\.bias \(as float16\)$",
        path,
        dtype=np.float16,
    )
    fb.load_weights(abstract(), path, dtype=ml_dtypes.bfloat16)


# Code in a pickle


class Canary:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_code_in_a_pickle_is_refused_and_never_run(suffix: str, legacy: bool, tmp_path: Path):
    mark, path = tmp_path / "mark", tmp_path / f"a{suffix}"
    content = {k: torch.from_numpy(v) for k, v in arrays(abstract()).items()}
    torch.save(
        {"state_dict": content, "extra": Canary(mark)},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    refused(ValueError, r"asks for posix\.mkdir: refused, and nothing in it was run", path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the mark is real
    assert mark.exists()


def test_a_bare_pickle_is_refused_and_never_run(tmp_path: Path):
    mark, path = tmp_path / "mark", tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(Canary(mark), protocol=2))
    refused(ValueError, "`source`", path)
    assert not mark.exists()


def test_a_whole_module_is_refused(tmp_path: Path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    refused(ValueError, r"asks for torch\.nn\.modules\.linear\.Linear: refused", tmp_path / "a.pth")


# Checkpoints without a state dict


@pytest.mark.parametrize(
    "content,held",
    [
        ({"epoch": 3, "net": {"w": torch.ones(2)}}, "holds epoch, net"),
        ({"state_dict": {"epoch": 3}}, "holds state_dict"),
        (torch.ones(3), "holds Tensor"),
        ({}, "holds dict"),
    ],
)
def test_a_checkpoint_without_a_state_dict(content, held: str, tmp_path: Path):
    torch.save(content, tmp_path / "a.pth")
    refused(ValueError, rf"`source` must hold a state dict, .* {held}", tmp_path / "a.pth")


def test_a_key_that_names_no_state_dict(tmp_path: Path):
    torch.save({"epoch": 3, "net": {"w": torch.ones(2)}}, tmp_path / "a.pth")
    refused(
        ValueError, "`key` must name a state dict .* got 'epoch'", tmp_path / "a.pth", key="epoch"
    )
    refused(ValueError, r"unexpected w, shape \(2,\)", tmp_path / "a.pth", key="net")


def test_a_key_for_safetensors(tmp_path: Path):
    refused(
        ValueError,
        "`key` is for checkpoints of torch.save",
        saved(tmp_path, ".safetensors"),
        key="model",
    )


# Shards


def shards(folder: Path) -> tuple[Path, list[Path]]:
    index = fb.save_weights(network(), folder / "m.safetensors", max_shard_size=20_000)
    return index, sorted(folder.glob("*.safetensors"))


def test_a_shard_that_does_not_exist(tmp_path: Path):
    index, files = shards(tmp_path)
    files[1].unlink()
    refused(FileNotFoundError, rf"names a file that does not exist: {files[1].name}", index)


def test_a_truncated_shard(tmp_path: Path):
    index, files = shards(tmp_path)
    files[1].write_bytes(files[1].read_bytes()[:-1])
    refused(ValueError, f"damaged or not a safetensors file: .*{files[1].name}", index)


def test_an_index_and_a_shard_that_disagree(tmp_path: Path):
    index, _ = shards(tmp_path)
    content = json.loads(index.read_text())
    del content["weight_map"]["head.classifier.bias"]
    index.write_text(json.dumps(content))
    refused(ValueError, r"disagree on where to find head\.classifier\.bias", index)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_a_damaged_index(text: str, tmp_path: Path):
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(text)
    refused(ValueError, "`source` is not an index of safetensors", index)


# Saving


def test_saving_to_a_folder_that_does_not_exist(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="`path` is in a folder that does not exist"):
        fb.save_weights(network(), tmp_path / "none" / "a.safetensors")


def test_saving_to_a_folder(tmp_path: Path):
    with pytest.raises(IsADirectoryError, match="`path` must name a file"):
        fb.save_weights(network(), tmp_path)


def test_saving_with_an_unknown_suffix(tmp_path: Path):
    with pytest.raises(ValueError, match=r"`path` must end in \.safetensors, \.pth.* got .*a\.npz"):
        fb.save_weights(network(), tmp_path / "a.npz")


def test_saving_an_abstract_module(tmp_path: Path):
    with pytest.raises(ValueError, match="`module` is abstract"):
        fb.save_weights(abstract(), tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "name,size,message",
    [
        ("a.safetensors", 0, "`max_shard_size` must be a positive integer, got 0"),
        ("a.pth", 100, r"`max_shard_size` is for \.safetensors"),
    ],
)
def test_a_shard_size_that_cannot_be(name: str, size: int, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        fb.save_weights(network(), tmp_path / name, max_shard_size=size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of a file")
@pytest.mark.parametrize("limit", [100, 15_000])
@pytest.mark.parametrize(
    "suffix,size", [(".safetensors", None), (".safetensors", 20_000), (".pth", None)]
)
def test_a_failed_write_leaves_what_was_there(suffix, size, limit, tmp_path: Path):
    import resource
    import signal

    path = tmp_path / f"a{suffix}"
    index = fb.save_weights(network(), path, max_shard_size=size)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError):
            fb.save_weights(network(seed=1), path, max_shard_size=size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    target = abstract()
    fb.load_weights(target, index)
    assert_equal(target, fb.state_dict(network()))


@both_kinds
def test_the_file_is_as_readable_as_any_other(suffix: str, tmp_path: Path):
    """Safetensors' own writer makes files that only their owner may read."""
    (tmp_path / "other").touch()
    path = fb.save_weights(network(), tmp_path / f"a{suffix}")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
