"""Checkpoints become a port's own, by this package and by the lines that it prints."""

import json

import flax.linen as linen
import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file
from torch import nn

import flaxblocks as fb
from parity.command import main
from parity.conversion import converted, recipe_of
from parity.sides import given
from parity.sides.pairing import pair_up
from tests.helpers.laid_out import NAMES, make_flax, make_torch

pytestmark = pytest.mark.usefixtures("quick")

PAIR = ["--pair", "tests.helpers.laid_out:make_torch", "tests.helpers.laid_out:make_flax"]
INPUT = ["--input", "tests.helpers.laid_out:make_input"]


def state_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


def test_a_recipe_gives_what_is_loaded():
    theirs, ours = make_torch(), make_flax()
    pair, state = pair_up(theirs, ours, NAMES), state_of(theirs)
    assert pair.lines_up, (pair.missing, pair.unexpected)
    found = converted(json.loads(json.dumps(recipe_of(pair))), state)
    fb.load_state_dict(ours, pair.weights(state))
    flat = nnx.to_flat_state(nnx.state(ours))
    assert found.keys() == {".".join(map(str, path)) for path, _ in flat}
    for path, leaf in flat:
        assert np.array_equal(found[".".join(map(str, path))], leaf[...]), path


def test_a_library_has_its_own_names_and_layouts():
    x = np.ones((1, 4, 4, 3), np.float32)
    port = given.jax_side(linen.Conv(5, (3, 3)), x)
    theirs = nn.Conv2d(3, 5, 3)
    found = converted(recipe_of(pair_up(theirs, port)), state_of(theirs))
    assert {name: array.shape for name, array in found.items()} == {
        "params/kernel": (3, 3, 3, 5),
        "params/bias": (5,),
    }
    kernel = jax.numpy.asarray(theirs.weight.detach().numpy().transpose(2, 3, 1, 0))
    assert np.array_equal(found["params/kernel"], kernel)


STEP = {
    "parts": [["b", None]],
    "reshape": [2, 3],
    "transpose": [1, 0],
    "shape": [3, 2],
    "flip": [],
}


@pytest.fixture
def files(tmp_path):
    paths = {name: tmp_path / f"{name}.json" for name in ("names", "port")}
    paths |= {name: tmp_path / f"{name}.safetensors" for name in ("theirs", "ours")}
    paths["names"].write_text(json.dumps(NAMES))
    save_file(state_of(make_torch()), paths["theirs"])
    return paths


def test_the_command_converts_and_prints_what_does_the_same(files, capsys):
    pair = [*PAIR, *INPUT, "--names", str(files["names"]), "--weights", str(files["theirs"])]
    assert main([*pair, "--to-port", str(files["port"]), "--checks", "names"]) == 0
    convert = ["--from-port", str(files["port"]), "--convert", str(files["theirs"])]
    capsys.readouterr()
    assert main([*convert, str(files["ours"])]) == 0
    lines, ours = capsys.readouterr().out, load_file(files["ours"])
    files["ours"].unlink()
    exec(compile(lines, "printed", "exec"), {})
    again = load_file(files["ours"])
    assert ours.keys() == again.keys()
    assert all(np.array_equal(ours[name], again[name]) for name in ours)


def test_what_cannot_be_converted_is_said_in_one_sentence(files, capsys):
    assert main(["--convert", "a", "b"]) == 2
    assert "`--from-port` and `--convert` need each other" in capsys.readouterr().err
    files["port"].write_text(json.dumps({"a": STEP}))
    convert = ["--from-port", str(files["port"]), "--convert", str(files["theirs"])]
    assert main([*convert, str(files["ours"])]) == 2
    assert "the checkpoint has no b, needed for a" in capsys.readouterr().err
    assert main([*convert, str(files["ours"].with_suffix(".npz"))]) == 2
    assert "`--convert` writes .safetensors files" in capsys.readouterr().err
    assert main(["--weights", "a"]) == 2
    assert "`--weights` needs `--pair`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "written",
    [
        ["a"],
        {"conv.weight": "stem.weight"},  # a map of names
        {"a": {"parts": [["b", None]]}},
        {"a": STEP | {"parts": []}},
        {"a": STEP | {"parts": [["b"]]}},
        {"a": STEP | {"parts": [["b", [0]]]}},
        {"a": STEP | {"parts": [[3, None]]}},
        {"a": STEP | {"plus": [["b", None]]}},
        {"a": STEP | {"plus": [["b", None, "0"]]}},
        {"a": STEP | {"reshape": [3]}},
        {"a": STEP | {"transpose": [0, 0]}},
        {"a": STEP | {"flip": [2]}},
        {"a": STEP | {"shape": "23"}},
    ],
)
def test_a_file_that_was_not_written_for_it_is_refused(files, capsys, written):
    files["port"].write_text(json.dumps(written))
    convert = ["--from-port", str(files["port"]), "--convert", str(files["theirs"])]
    assert main([*convert, str(files["ours"])]) == 2
    assert "`--from-port` must be a file that `--to-port` wrote" in capsys.readouterr().err
    assert not files["ours"].exists()
