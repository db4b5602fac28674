"""`flaxblocks train` and `flaxblocks evaluate`: what they leave, and how they refuse bad input."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.train.run.json_log import read_log
from tests.helpers.tiny_training import damage, make_images, register_tiny, small_files


@pytest.fixture(autouse=True)
def tiny():
    register_tiny()


@pytest.fixture
def images(tmp_path) -> Path:
    make_images(tmp_path / "images" / "train")
    make_images(tmp_path / "images" / "val", per_class=2)
    return tmp_path / "images"


def command(images: Path, out: Path, *options: str) -> list[str]:
    options = ("--recipe", "quick", "--epochs", "3", "--image-size", "16", *options)
    place = ["--data", str(images), "--out", str(out)]
    return ["train", "--model", "tiny", *place, "--batch-size", "4", *options]


def test_training_leaves_weights_that_can_be_evaluated(images, tmp_path, capsys):
    damage(images / "train" / "b" / "3.png")
    out = tmp_path / "out"
    assert main(command(images, out, "--log-every", "5")) == 0
    told = capsys.readouterr()
    assert "model.safetensors: tiny after step 15" in told.out
    assert "step 15/15" in told.err
    assert f"left out {images / 'train' / 'b' / '3.png'}: " in told.err
    assert json.loads((out / "classes.json").read_text()) == ["a", "b", "c"]
    assert sorted(file.name for file in (out / "checkpoints").iterdir()) == ["10", "15", "5"]
    assert any((out / "tensorboard").iterdir())
    log = read_log(out / "log.jsonl")
    evaluation = [line for line in log if "evaluation_loss" in line][-1]

    evaluate = ["evaluate", "--model", "tiny", "--data", str(images / "val")]
    evaluate += ["--weights", str(out / "model.safetensors")]
    assert main([*evaluate, "--image-size", "16", "--batch-size", "4"]) == 0
    told = capsys.readouterr().out
    assert f"accuracy {100 * evaluation['evaluation_accuracy']:.2f} %" in told
    assert f"loss {evaluation['evaluation_loss']:.4f}, of 6 images" in told


def test_sigterm_is_no_failure_and_resume_goes_on(images, tmp_path, capsys, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main(command(images, whole, "--train", "head")) == 0

    def terminate(record: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(
            "flaxblocks.train.run.training.JsonLines", lambda path, step: lambda r: terminate(0)
        )
        patch.setattr("flaxblocks.train.run.stop.SIGNALS", (signal.SIGTERM,))
        assert main(command(images, out, "--log-every", "7", "--train", "head")) == 0
    assert "SIGTERM: saved step" in capsys.readouterr().out
    assert not (out / "model.safetensors").exists()
    assert main(command(images, out, "--resume", "--train", "head")) == 0
    expected, got = (load_file(folder / "model.safetensors") for folder in (whole, out))
    assert all(np.array_equal(expected[name], got[name]) for name in expected)
    before = fb.state_dict(fb.create_model("tiny", num_classes=3, rngs=nnx.Rngs(0)))
    changed = {name for name in got if not np.array_equal(got[name], before[name])}
    assert changed == {name for name in got if name.startswith("head.")} != set()


def test_a_full_disk_is_one_sentence(images, tmp_path, capfd):
    with small_files(3000):
        assert main(command(images, tmp_path / "out")) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("flaxblocks: error: the checkpoint of step 5 cannot be written to")
    assert last.endswith("File too large; there is none yet")


def begun(images: Path, out: Path) -> None:
    out.mkdir()
    (out / "run.json").write_text("{}")


def empty_class(images: Path, out: Path) -> None:
    (images / "train" / "empty").mkdir()


def no_folder(images: Path, out: Path) -> None:
    out.write_text("")


def other_class(images: Path, out: Path) -> None:
    make_images(images / "val", per_class=1, classes="d")


def nothing(images: Path, out: Path) -> None:
    """Leave everything as it is."""


def test_another_number_of_classes_is_refused(images, tmp_path, capsys):
    model = fb.create_model("tiny", num_classes=2, rngs=nnx.Rngs(0))
    path = fb.save_weights(model, tmp_path / "two.safetensors")
    evaluate = ["evaluate", "--model", "tiny", "--data", str(images / "val")]
    assert main([*evaluate, "--weights", str(path)]) == 2
    assert "a folder for each of the weights' 2 classes, got 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (begun, [], "there is a run in"),
        (begun, ["--resume"], "was started with"),
        (empty_class, [], "every class must have images, and"),
        (no_folder, [], "cannot be written: File exists"),
        (other_class, [], "of the 3 known classes only, got 'd'"),
        (nothing, ["--batch-size", "5"], "must be a multiple of the 4 devices, got 5"),
        (nothing, ["--batch-size", "24"], "`batch_size` must be at most 21 images, got 24"),
        (nothing, ["--data", "no/where"], "`root` must be a folder of images, got no/where"),
        (nothing, ["--model", "resnet19"], "got 'resnet19'"),
        (
            nothing,
            ["--train", "haed"],
            "select at least one parameter, got Under(prefixes=('haed',",
        ),
        (nothing, ["--weights", "no.pth"], "`source` does not exist: no.pth"),
    ],
)
def test_bad_input_is_one_sentence(images, tmp_path, capsys, change, options, words):
    change(images, tmp_path / "out")
    assert main(command(images, tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert words in error
