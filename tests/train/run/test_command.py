"""`flaxblocks train` and `flaxblocks evaluate`: what they leave, and how they refuse bad input."""

import json
import os
import re
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.train.run.json_log import evaluation_of, last_evaluation, read_log
from flaxblocks.train.run.settings import Settings, read_config
from flaxblocks.weights.card import Card, read_card
from tests.helpers.tiny_training import (
    PREPROCESS,
    damage,
    make_images,
    register_tiny,
    small_files,
)


@pytest.fixture(autouse=True)
def tiny():
    register_tiny()


@pytest.fixture
def images(tmp_path) -> Path:
    make_images(tmp_path / "images" / "train")
    make_images(tmp_path / "images" / "val", per_class=2)
    return tmp_path / "images"


def command(images: Path, out: Path, *options: str) -> list[str]:
    options = ("--recipe", "quick", "--epochs", "3", "--input-size", "16", *options)
    place = ["--data", str(images), "--out", str(out)]
    return ["train", "--model", "tiny", *place, "--batch-size", "4", *options]


def shown(told: str) -> tuple[str, str]:
    """Return the accuracy and the loss that `evaluate` printed."""
    found = re.search(r"accuracy (\S+) %.*loss (\S+),", told)
    assert found is not None, told
    return found[1], found[2]


def test_a_run_explains_itself(images, tmp_path, capsys):
    damage(images / "train" / "b" / "3.png")
    out = tmp_path / "out"
    assert main(command(images, out, "--log-every", "5")) == 0
    told = capsys.readouterr()
    assert f"{out}: tiny after step 15" in told.out
    assert "step 15/15" in told.err
    assert f"left out {images / 'train' / 'b' / '3.png'}: " in told.err
    assert sorted(file.name for file in (out / "checkpoints").iterdir()) == ["10", "15", "5"]
    assert any((out / "tensorboard").iterdir())
    evaluation = last_evaluation(read_log(out / "log.jsonl"))
    card = read_card(out)
    assert (card.name, card.classes, card.preprocess) == ("tiny", ("a", "b", "c"), PREPROCESS)
    assert card.metrics == evaluation
    assert card.versions["jax"] == jax.__version__
    assert card.recipe["recipe"] == "quick"
    # The settings are written back whole: the file makes the same run.
    again = Settings.of(read_config(out / "config.toml"))
    assert again.result() == {n: v for n, v in card.recipe.items() if n != "steps"}
    assert (again.log_every, again.lr_base) == (5, 0.02)
    # The best weights are kept apart, and are as good as was said.
    best = json.loads((out / "best.json").read_text())
    accuracies = [e["accuracy"] for r in read_log(out / "log.jsonl") if (e := evaluation_of(r))]
    assert best["accuracy"] == max(accuracies)
    assert main(["evaluate", str(out / "best.safetensors"), "--data", str(images)]) == 0
    assert shown(capsys.readouterr().out)[0] == f"{100 * best['accuracy']:.2f}"

    expected = f"{100 * evaluation['accuracy']:.2f}", f"{evaluation['loss']:.4f}"
    evaluate = ["evaluate", "--batch-size", "4", "--data"]
    # The folder that holds train and val too, and classes are matched by name, in any case.
    assert main([*evaluate, str(images), str(out), "--report", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert report["accuracy"] == pytest.approx(evaluation["accuracy"])
    assert [row["name"] for row in report["classes"]] == ["a", "b", "c"]
    assert shown(capsys.readouterr().out) == expected
    (images / "val" / "a").rename(images / "val" / "A")
    (images / "val" / ".ipynb_checkpoints").mkdir()
    assert main([*evaluate, str(images / "val"), "--weights", str(out / card.weights)]) == 0
    assert shown(capsys.readouterr().out) == expected
    (images / "val" / "A").rename(images / "val" / "zero")
    assert main([*evaluate, str(images / "val"), str(out)]) == 2
    assert "`--data` " in (error := capsys.readouterr().err)
    assert "the 3 known classes only, such as a, b, c; got 'zero'" in error

    photo = str(images / "train" / "a" / "0.png")
    run = fb.load_run(out)
    logits = run.model(jnp.asarray(run.preprocess(photo)))[0]
    assert main(["classify", photo, str(images / "train" / "b" / "3.png"), "--run", str(out)]) == 2
    told = capsys.readouterr()
    likeliest = [line.split() for line in told.out.splitlines() if " %" in line]
    assert [int(row[2]) for row in likeliest] == np.argsort(-logits).tolist()
    assert [row[3] for row in likeliest] == [run.classes[i] for i in np.argsort(-logits)]
    assert "3.png cannot be read" in told.err


def test_training_goes_on_from_a_run(images, tmp_path, capsys):
    out, further = tmp_path / "out", tmp_path / "further"
    model = fb.create_model("tiny", num_classes=3, rngs=nnx.Rngs(3))
    out.mkdir()
    fb.save_weights(model, out / "model.safetensors")
    Card("tiny", 3, PREPROCESS, classes=("a", "b", "c")).write(out)
    options = ["--recipe", "quick", "--epochs", "1", "--batch-size", "4", "--lr", "0"]
    start = ["train", "--data", str(images), "--weights", str(out), *options, "--out"]
    assert main([*start, str(further)]) == 0
    got, expected = fb.load_run(further), fb.state_dict(model)
    kept = {n for n, a in fb.state_dict(got.model).items() if np.array_equal(a, expected[n])}
    learned = {name for name in expected if "running" not in name and "num_batches" not in name}
    assert kept >= learned
    # As many classes, but others: what the classifier knows is of no use.
    Card("tiny", 3, PREPROCESS, classes=("x", "y", "z")).write(out)
    assert main([*start, str(tmp_path / "other")]) == 0
    got = fb.state_dict(fb.load_run(tmp_path / "other").model)
    changed = {name for name in learned if not np.array_equal(got[name], expected[name])}
    assert changed == {name for name in learned if name.startswith("head.classifier")} != set()
    capsys.readouterr()
    assert main([*start, "x", "--model", "resnet18"]) == 2
    assert f"`--weights` must be for resnet18, {out} holds tiny" in capsys.readouterr().err


def test_gray_images_and_more_outputs_than_classes(images, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--in-chans", "1", "--num-classes", "5", "--recalibrate", "2", "--epochs", "1"]
    assert main(command(images, out, *options)) == 0
    run = fb.load_run(out)
    assert run.classes == ("a", "b", "c", "3", "4")
    assert run.preprocess.mean == (pytest.approx(sum(PREPROCESS.mean) / 3),)
    image = run.preprocess(images / "val" / "b" / "0.png")
    assert image.shape == (1, 16, 16, 1)
    likeliest = int(run.model(jnp.asarray(image)).argmax())
    capsys.readouterr()
    assert main(["classify", str(images / "val" / "b" / "0.png"), "--run", str(out)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if " %" in line]
    assert [int(rows[0][2]), rows[0][3]] == [likeliest, run.classes[likeliest]]
    assert main(["evaluate", str(out), "--data", str(images), "--input-size", "16"]) == 0
    expected = evaluation_of(read_log(out / "log.jsonl")[-1])
    assert shown(capsys.readouterr().out)[1] == f"{expected['loss']:.4f}"
    assert main(["average", str(out), str(out), "--out", str(tmp_path / "mean")]) == 0
    assert main(["convert", str(out), str(tmp_path / "copy.pth"), "--to", "native"]) == 0


def test_a_run_that_was_killed_before_it_kept_its_best(images, tmp_path):
    out = tmp_path / "out"
    assert main(command(images, out, "--epochs", "1")) == 0
    best = json.loads((out / "best.json").read_text())
    (out / "best.json").unlink()
    (out / "best.safetensors").unlink()
    assert main(command(images, out, "--epochs", "1", "--resume")) == 0
    again = json.loads((out / "best.json").read_text())
    last = evaluation_of(read_log(out / "log.jsonl")[-1])
    assert again == {"step": 5, **last}
    assert (out / "best.safetensors").is_file() and again.keys() == best.keys()


@pytest.mark.parametrize(
    ("kind", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_signal_saves_and_resume_goes_on(images, tmp_path, capsys, monkeypatch, kind, status):
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main(command(images, whole, "--train", "head")) == 0

    with monkeypatch.context() as patch:
        patch.setattr(
            "flaxblocks.train.run.log_writers.JsonLines",
            lambda path, step: lambda record: os.kill(os.getpid(), kind),
        )
        patch.setattr("flaxblocks.train.run.stop.SIGNALS", (kind,))
        assert main(command(images, out, "--log-every", "7", "--train", "head")) == status
    assert f"{kind.name}: saved step" in capsys.readouterr().out
    assert not (out / "model.safetensors").exists()
    assert main(["evaluate", str(out), "--data", str(images)]) == 2
    unfinished = f"`RUN` must be a finished run's folder, {out} has no model.json"
    assert unfinished in capsys.readouterr().err
    assert main(["evaluate", str(out / "no"), "--data", str(images)]) == 2
    assert f"`RUN`: there is no folder {out / 'no'}" in capsys.readouterr().err
    assert main(command(images, out, "--resume", "--train", "head")) == 0
    expected, got = (load_file(folder / "model.safetensors") for folder in (whole, out))
    assert all(np.array_equal(expected[name], got[name]) for name in expected)
    before = fb.state_dict(fb.create_model("tiny", num_classes=3, rngs=nnx.Rngs(0)))
    changed = {name for name in got if not np.array_equal(got[name], before[name])}
    assert changed == {name for name in got if name.startswith("head.")} != set()


def test_a_full_disk_is_one_sentence(images, tmp_path, capfd):
    with small_files(3000):
        assert main(command(images, tmp_path / "out", "--no-save-best")) == 2
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


def half(images: Path, out: Path) -> None:
    (images / "train").rename(images / "exercise")


def twice(images: Path, out: Path) -> None:
    make_images(images / "training", per_class=1)


def no_toml(images: Path, out: Path) -> None:
    Path("no.toml").write_text("epochs = many")


def typo(images: Path, out: Path) -> None:
    Path("no.toml").write_text("epoch = 3")


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
        (other_class, [], "of the 3 known classes only, such as a, b, c; got 'd'"),
        (half, [], "must hold train or training beside val"),
        (twice, [], "must hold one of train, training, got both"),
        (nothing, ["--batch-size", "5"], "must be a multiple of the 4 devices, got 5"),
        (nothing, ["--batch-size", "24"], "`--batch-size` must be at most 21 images, got 24"),
        (nothing, ["--data", "no/where"], "`--data` must be a folder of images, got no/where"),
        (nothing, ["--num-classes", "2"], "`--num-classes` must be at least the images' 3, got 2"),
        (nothing, ["--recalibrate", "-1"], "`--recalibrate` must be an integer of at least 0"),
        (nothing, ["--seed", "-1"], "`--seed` must be an integer of at least 0, got -1"),
        (
            nothing,
            ["--freeze", "stem,sta"],
            "`--freeze` must name modules such as head or stages.3, got",
        ),
        (nothing, ["--aa", "rand"], "`--aa` must be original, ra, ta_wide or such as 'rand-m9"),
        (nothing, ["--log", "trackio"], "the log 'trackio' needs trackio: pip install trackio"),
        (no_toml, ["--config", "no.toml"], "`--config` no.toml is not TOML"),
        (typo, ["--config", "no.toml"], "there is no setting called 'epoch'; the nearest are epo"),
        (nothing, ["--model", "resnet19"], "got 'resnet19'"),
        (
            nothing,
            ["--train", "haed"],
            "`--train` must name modules such as head or stages.3, got 'haed'",
        ),
        (nothing, ["--weights", "no.pth"], "`--weights` does not exist: no.pth"),
    ],
)
def test_bad_input_is_one_sentence(images, tmp_path, capsys, monkeypatch, change, options, words):
    monkeypatch.chdir(tmp_path)
    change(images, tmp_path / "out")
    assert main(command(images, tmp_path / "out", *options)) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert words in error
