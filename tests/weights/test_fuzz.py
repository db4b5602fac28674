"""Mutated and hostile files: each is loaded as given, or refused with one sentence.

Nothing is run, written or read elsewhere, little memory is taken, and the module is unchanged. By
default a few files of each kind, with the same seed; the slow run has some thousands.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import flaxblocks as fb
from flaxblocks.weights.card import Card, read_card
from flaxblocks.weights.origin import resolve
from tests.helpers import fuzzing
from tests.helpers.hostile_pickles import hostile_pickle
from tests.helpers.weight_files import abstract, arrays, assert_equal, network

SLOW = pytest.mark.slow
SEED = 18
FEW = 10  # files of each kind by default
TARGET = network(seed=1)
UNCHANGED = fb.state_dict(network(seed=1))

Make = Callable[[Path, np.random.Generator], Path]


def counts(many: int) -> pytest.MarkDecorator:
    """Parametrize a test over the default number of files and the slow run's."""
    return pytest.mark.parametrize("count", [FEW, pytest.param(many, marks=SLOW)])


def given(path: Path) -> dict[str, np.ndarray] | None:
    """Return what the libraries' own readers find in a file that they trust."""
    if path.suffix == ".safetensors":
        return safetensors.numpy.load_file(path)
    held = torch.load(path, weights_only=False)
    held = held.get("state_dict", held)
    return {name: np.asarray(value) for name, value in held.items()}


def load(path: Path, reference: Callable[[Path], dict[str, np.ndarray] | None] = given) -> str:
    """Load a file, and check what the module is then."""
    fb.load_state_dict(TARGET, UNCHANGED)
    said = fuzzing.outcome(lambda: fb.load_weights(TARGET, path), path.parent)
    if said != "loaded":
        assert_equal(TARGET, UNCHANGED)
        return said
    truth = reference(path)
    found = fb.state_dict(TARGET)
    if truth is not None:
        for name, value in found.items():
            if name in truth:
                np.testing.assert_array_equal(value, truth[name].astype(value.dtype))
    return said


def run(make: Make, count: int, folder: Path) -> dict[str, int]:
    """Make and load files; return how many were loaded and refused."""
    rng = np.random.default_rng(SEED)
    found = {"loaded": 0, "refused": 0}
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        path = make(place, rng)
        found["loaded" if load(path) == "loaded" else "refused"] += 1
    return found


# safetensors

WEIGHTS = arrays(abstract())


def safetensors_file(header: object, data: bytes, size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def make_safetensors(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "a.safetensors"
    whole = safetensors.numpy.save(WEIGHTS)
    size = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    kind = rng.integers(4)
    if kind == 0:
        path.write_bytes(fuzzing.mutated(whole, rng))
    elif kind == 1:
        path.write_bytes(safetensors_file(fuzzing.odd_json(header, rng), data))
    elif kind == 2:
        path.write_bytes(safetensors_file(header, data, int(rng.integers(0, 2**63))))
    else:
        changed = dict(WEIGHTS)
        name = list(changed)[rng.integers(len(changed))]
        shape = rng.integers(0, 4, rng.integers(0, 6))
        changed[name] = np.ones(shape, rng.choice(["f4", "f2", "f8", "i4", "u1", "?"]))
        if rng.random() < 0.5:
            changed = {(f"../{name}" if n == name else n): v for n, v in changed.items()}
        path.write_bytes(safetensors.numpy.save(changed))
    return path


@counts(500)
def test_safetensors(count, tmp_path):
    found = run(make_safetensors, count, tmp_path)
    assert found["refused"] > found["loaded"]


def make_shards(folder: Path, rng: np.random.Generator) -> Path:
    """Write an index that is broken, or names what is elsewhere."""
    secret = folder.parent / f"secret{folder.name}.safetensors"
    safetensors.numpy.save_file(WEIGHTS, secret)
    safetensors.numpy.save_file(WEIGHTS, folder / "a.safetensors")
    places = dict.fromkeys(WEIGHTS, "a.safetensors")
    index = folder / "a.safetensors.index.json"
    if rng.random() < 0.4:
        elsewhere = (
            f"../{secret.name}",
            str(secret),
            f"./../{secret.name}",
            "/dev/zero",
            "..",
            ".",
        )
        places = dict.fromkeys(WEIGHTS, str(rng.choice(elsewhere)))
        index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    elif rng.random() < 0.8:
        index.write_bytes(fuzzing.odd_json({"metadata": {}, "weight_map": places}, rng))
    else:
        index.write_bytes(fuzzing.mutated(json.dumps({"weight_map": places}).encode(), rng))
    return index


@counts(250)
def test_an_index_of_safetensors(count, tmp_path):
    rng = np.random.default_rng(SEED)
    for number in range(count):
        (tmp_path / str(number)).mkdir()
        said = load(make_shards(tmp_path / str(number), rng), lambda _: WEIGHTS)
        assert said == "loaded" or "`source`" in said


# Files of torch.save


def saved(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    weights = {name: torch.from_numpy(value) for name, value in WEIGHTS.items()}
    torch.save({"state_dict": weights}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


ARCHIVE, LEGACY = saved(legacy=False), saved(legacy=True)


def rewritten(rng: np.random.Generator) -> bytes:
    """Return the archive with other parts: hostile, compressed, larger, elsewhere, twice."""
    buffer = io.BytesIO()
    kind = rng.integers(6)
    packed = zipfile.ZIP_DEFLATED if kind == 0 else zipfile.ZIP_STORED
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as old, zipfile.ZipFile(buffer, "w", packed) as new:
        chosen = old.namelist()[rng.integers(len(old.namelist()))]
        for name in old.namelist():
            data, target = old.read(name), name
            if name.endswith("data.pkl") and kind in (1, 2, 3):
                data = hostile_pickle(rng) if kind < 3 else fuzzing.mutated(data, rng)
            if name == chosen and kind == 4:
                target = str(rng.choice(["../../mark", "/mark/mark", "archive/../mark", "mark"]))
            if name == chosen and kind == 5:
                data = fuzzing.mutated(data, rng)
            new.writestr(target, data)
        if kind == 0:
            new.writestr("archive/bomb", b"\0" * (1 << 24))
    return buffer.getvalue()


def make_torch(folder: Path, rng: np.random.Generator) -> Path:
    path = folder / "a.pth"
    kind = rng.integers(5)
    if kind == 0:
        path.write_bytes(fuzzing.mutated(ARCHIVE, rng))
    elif kind == 1:
        path.write_bytes(fuzzing.mutated(LEGACY, rng))
    elif kind == 2:
        path.write_bytes(hostile_pickle(rng))
    else:
        path.write_bytes(rewritten(rng))
    return path


@counts(600)
def test_files_of_torch_save(count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(make_torch, count, tmp_path)
    assert found["refused"] > found["loaded"]
    assert [path.name for path in tmp_path.iterdir() if not path.name.isdigit()] == []


# What is beside weights

CONFIG = {
    "architecture": "resnet18",
    "num_classes": 10,
    "label_names": ["a", "b"],
    "model_args": {"bn_eps": 1e-3, "in_chans": 3},
    "pretrained_cfg": {
        "input_size": [3, 64, 64],
        "num_classes": 10,
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
    },
}


def make_config(folder: Path, rng: np.random.Generator) -> Path:
    text = fuzzing.odd_json(CONFIG, rng)
    text = fuzzing.mutated(text, rng) if rng.random() < 0.3 else text
    (folder / "config.json").write_bytes(text)
    safetensors.numpy.save_file(WEIGHTS, folder / "model.safetensors")
    return folder


@counts(300)
def test_a_config(count, tmp_path):
    rng = np.random.default_rng(SEED)
    for number in range(count):
        (tmp_path / str(number)).mkdir()
        folder = make_config(tmp_path / str(number), rng)
        fuzzing.outcome(lambda folder=folder: resolve(None, folder), folder)
        load(folder, lambda _: None)


def make_card(folder: Path, rng: np.random.Generator) -> Path:
    preprocess = fb.Preprocess(32, 32)
    Card("resnet18", 10, preprocess, classes=("a", "b"), metrics={"loss": 1.0}).write(folder)
    card = folder / "model.json"
    text = fuzzing.odd_json(json.loads(card.read_text()), rng)
    card.write_bytes(fuzzing.mutated(text, rng) if rng.random() < 0.3 else text)
    safetensors.numpy.save_file(WEIGHTS, folder / "model.safetensors")
    return folder


@counts(300)
def test_a_card(count, tmp_path):
    rng = np.random.default_rng(SEED)
    for number in range(count):
        (tmp_path / str(number)).mkdir()
        folder = make_card(tmp_path / str(number), rng)
        if fuzzing.outcome(lambda folder=folder: read_card(folder), folder) == "loaded":
            fuzzing.outcome(lambda folder=folder: resolve(None, folder), folder)
        load(folder, lambda _: WEIGHTS)
