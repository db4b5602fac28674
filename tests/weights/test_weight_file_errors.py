"""Bad files of weights: one clear error each, the module untouched."""

import json
import re
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks.weights.card import Card, read_card
from tests.helpers.weight_files import abstract, arrays, both_kinds, network, refused, saved

# What is not there, or is something else


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".safetensors.index.json", ""])
def test_a_path_that_does_not_exist(suffix: str, tmp_path: Path):
    path = tmp_path / f"missing{suffix}"
    refused(FileNotFoundError, rf"`source` does not exist: {re.escape(str(path))}", path)


def test_a_folder(tmp_path: Path):
    refused(
        IsADirectoryError,
        "`source` must be a file or a .* run's folder, .* has no model.json",
        tmp_path,
    )


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
        f"`source` {path}: `state_dict` does not fit Backbone, nothing was loaded; "
        "74 of 74 tensors fit:",
        "  unexpected first, shape (2,)",
        "  unexpected second, shape (3,)",
    ]


def test_a_wrong_architecture(tmp_path: Path):
    path = fb.save_weights(fb.MBConv(8, 8, rngs=nnx.Rngs(0)), tmp_path / "a.safetensors")
    message = refused(ValueError, "does not fit Backbone, nothing was loaded", path)
    assert "missing head.classifier.weight" in message
    assert "unexpected depthwise.conv.weight" in message


def test_names_of_another_vendor_are_recognized(tmp_path: Path):
    path = fb.save_weights(network(), tmp_path / "a.safetensors", names="torchvision")
    message = r'nothing was loaded; these are the names of `names="(torchvision|timm)"`'
    refused(ValueError, message, path, names="native")


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


@pytest.mark.parametrize(
    "header",
    [
        "x" * 9000,  # a text where a dictionary must be
        {"\x1b[31m": {"dtype": "F32", "shape": [2], "data_offsets": [0, 99]}},  # red on a terminal
    ],
    ids=["long", "colored"],
)
def test_what_a_library_quotes_of_a_damaged_file_is_cut_short(header: object, tmp_path: Path):
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    message = refused(ValueError, "is damaged or not a safetensors file", path)
    assert len(message) < 500 and message.isprintable()


def test_a_part_of_an_archive_without_its_header_is_damage(tmp_path: Path):
    """PyTorch refuses it too, but where it maps the file it does not look."""
    path = saved(tmp_path, ".pth")
    with zipfile.ZipFile(path) as archive:
        (part,) = [p for p in archive.infolist() if p.filename.endswith("data/3")]
    content = bytearray(path.read_bytes())
    content[part.header_offset] ^= 1
    path.write_bytes(content)
    refused(ValueError, "is damaged or not a file of torch.save", path)


@both_kinds
@pytest.mark.parametrize("count", [2**31, 2**58 + 5, -(2**40), 0.5])
def test_a_count_that_the_network_cannot_hold_is_named(count: float, suffix: str, tmp_path: Path):
    name = "stem.layers.0.norm.num_batches_tracked"
    path = saved(tmp_path, suffix, {name: np.asarray(count)})
    message = refused(ValueError, "too large or not whole, nothing was loaded", path)
    assert message.endswith(f": {name} (as int32)")


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


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "/a", "a/b", "a\0", "a\n\x1b[31m", "x" * 256], ids=ascii
)
def test_a_name_that_is_of_no_file_beside(name, tmp_path):
    Card("resnet18", 10, fb.Preprocess(32, 32), weights=name).write(tmp_path)
    with pytest.raises(ValueError, match="`weights` must be a file beside it") as caught:
        read_card(tmp_path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
