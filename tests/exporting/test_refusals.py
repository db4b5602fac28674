"""What `export` and `load_exported` refuse, and how they say so."""

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.exporting.formats import FORMATS
from tests.helpers.exported import FORMAT_NAMES, SIZE, SMALL, suffix

REFUSED = [
    (
        {"format": "onxn"},
        ValueError,
        "one of .* formats, got 'onxn'; the nearest are onnx",
    ),
    ({"path": "model.xyz"}, ValueError, "must end in .*, or `format` be given, got 'model.xyz'"),
    ({"path": "model.pth"}, ValueError, "got 'model.pth'; `flaxblocks convert` writes weights"),
    ({"format": "state-dict"}, ValueError, "got 'state-dict'; `flaxblocks convert` writes weight"),
    (
        {"path": "no/model.stablehlo"},
        FileNotFoundError,
        "`path`: cannot write .*there is no folder",
    ),
    ({"path": "folder.stablehlo"}, IsADirectoryError, "which is a folder"),
    (
        {"path": f"{'a' * 256}.stablehlo"},
        OSError,
        r"`path`: cannot write a+\.stablehlo, .* takes no such file \(.*\); give one that can be",
    ),
    pytest.param(
        {"path": "/proc/model.stablehlo"},
        OSError,
        "`path`: cannot write /proc/model.stablehlo, /proc takes no such file",
        marks=pytest.mark.skipif(not os.path.isdir("/proc"), reason="Linux has it"),
    ),
    ({"dtype": np.int32}, ValueError, "`dtype` must be float32 or .*, got 'int32'"),
    ({"dtype": "float33"}, ValueError, "`dtype` must be float32 or .*, got 'float33'"),
    (
        {"path": "model.pt2", "dtype": "int8"},
        ValueError,
        "`dtype` must be float32 or float16 or bfloat16, got 'int8'",
    ),
    ({"batch": 0}, ValueError, "`batch` must be a positive integer, got 0"),
    ({"input_size": -3}, ValueError, "`input_size` must be .*, got -3"),
    ({"classes": ("cat",)}, ValueError, "`classes` must name the model's 7 outputs, got 1 names"),
]


@pytest.mark.parametrize(
    ("arguments", "error", "words"), REFUSED, ids=lambda value: str(value)[:40]
)
def test_bad_input_is_refused(arguments, error, words, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.stablehlo").mkdir()
    given = {"path": "model.stablehlo", "input_size": SIZE} | arguments
    with pytest.raises(error, match=words):
        fb.export(network, given.pop("path"), **given)
    assert os.listdir(tmp_path) == ["folder.stablehlo"]


OF_ANOTHER_TYPE = [
    ({"format": 3}, TypeError, "`format` must be the name of one, got 3"),
    ({"batch": "any"}, ValueError, "`batch` must be a number or 'dynamic', got 'any'"),
    ({"input_size": "any"}, ValueError, "`input_size` must be a number or 'dynamic', got 'any'"),
    ({"preprocess": 3}, TypeError, "`preprocess` must be a Preprocess, got 3"),
    ({"classes": "abcdefg"}, TypeError, "`classes` must be names, .* got 'abcdefg'"),
    ({"classes": range(7)}, TypeError, "`classes` must be names, .* got range"),
    ({"check": 3}, TypeError, "`check` must be a function of the file's path, got 3"),
    ({"dtype": None}, ValueError, "`dtype` must be float32 or .*, got None"),
]


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(("arguments", "error", "words"), OF_ANOTHER_TYPE, ids=str)
def test_arguments_of_another_type_are_refused(arguments, error, words, network, tmp_path):
    with pytest.raises(error, match=words):
        fb.export(network, tmp_path / "model.stablehlo", **{"input_size": SIZE} | arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "torch"])
def test_more_weights_than_a_file_holds_are_refused(format: str, tmp_path, monkeypatch):
    model = fb.Conv(500, 500, 1, use_bias=False, rngs=nnx.Rngs(0))
    small = dataclasses.replace(FORMATS[format], most_weights=999_999)
    monkeypatch.setitem(FORMATS, format, small)
    given = {"input_size": 8, "in_features": 500, "format": format}
    with pytest.raises(ValueError, match=r"`model` has 0\.001 GB of weights, .* format 'torch'"):
        fb.export(model, tmp_path / "model", **given)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(FORMATS, format, dataclasses.replace(small, most_weights=1_000_000))
    monkeypatch.setattr(type(small), "_imported", lambda _: SimpleNamespace(write=touch))
    fb.export(model, tmp_path / "model", **given)


def touch(_: object, path: Path) -> None:
    path.touch()


def test_channels_of_a_module_are_refused_by_their_name(tmp_path):
    model, path = fb.Conv(3, 4, 1, rngs=nnx.Rngs(0)), tmp_path / "model.stablehlo"
    with pytest.raises(ValueError, match="`in_features` must be a positive integer, got 0"):
        fb.export(model, path, input_size=8, in_features=0)
    assert list(tmp_path.iterdir()) == []


class Several(nnx.Module):
    """Returns what it is told to make of an array."""

    def __init__(self, make):
        self.conv, self.make = fb.Conv(3, 4, 1, rngs=nnx.Rngs(0)), make

    def __call__(self, x):
        return self.make(self.conv(x))


@pytest.mark.parametrize(
    ("make", "got"),
    [(lambda y: {"a": y, "b": y}, "a mapping of 'a', 'b'"), (lambda y: (y, y), "tuple")],
)
def test_what_returns_no_array_is_refused(make, got: str, tmp_path):
    with pytest.raises(ValueError, match=f"`model` must return an array, .* got {got}"):
        fb.export(Several(make), tmp_path / "model.stablehlo", input_size=8)
    assert list(tmp_path.iterdir()) == []


class AllPixels(nnx.Module):
    """Reads every pixel by a weight of its own, as AlexNet does."""

    def __init__(self):
        self.linear = fb.Linear(8 * 8 * 3, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.linear(x.reshape(x.shape[0], -1))


def test_an_abstract_model_is_refused():
    network = nnx.eval_shape(lambda: fb.create_model(SMALL, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="`model` is abstract and has no weights"):
        fb.export(network, "x.stablehlo")


def test_a_size_that_a_network_does_not_allow_is_refused():
    preprocess = fb.Preprocess(resize=8, crop=8)
    with pytest.raises(ValueError, match="this model computes 8 x 8 pixels, but not any"):
        fb.export(AllPixels(), "x.stablehlo", input_size="dynamic", preprocess=preprocess)


@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_a_file_that_is_something_else_is_refused(format: str, tmp_path):
    path = tmp_path / f"model{suffix(format)}"
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fb.load_exported(path)
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=f"model{suffix(format)} is damaged, or no exported"):
        fb.load_exported(path)
