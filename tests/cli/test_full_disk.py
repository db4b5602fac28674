"""A full disk is said in one sentence with exit status 2, and what was there stays as it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.cli import main
from flaxblocks.cli.report import write_report
from flaxblocks.train.run.plot import plot
from flaxblocks.weights.card import Card
from tests.helpers.bench_results import measured
from tests.helpers.tiny_training import PREPROCESS, make_images, register_tiny, small_files

ROOT = Path(__file__).parents[2]
FULL = 64  # bytes that a file may have where the disk is full
SIDES = [f"tests.helpers.parity_pairs:make_{side}" for side in ("torch", "flax")]
PORT = ["parity", "--pair", *SIDES, "--checks", "names"]
UNIT = ["parity", "--blocks", "Conv1X1BnReLU", "--checks", "names"]
SLOW = pytest.mark.slow
TINY = ["--model", "tiny", "--weights", "run/model.safetensors"]
TIMM = "timm/test_resnet"
HUB = ["convert", "run", "out/hub", "--to", "hub"]
BENCH = ["bench", "Conv/pointwise-56", "--against", "lax"]
EVALUATE = ["evaluate", "run", "--data", "images", "--report", "out/page"]
TRAIN = ["train", "--model", "tiny", "--data", "images", "--epochs", "1", "--batch-size", "4"]


def written(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder with its content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def finished_run(folder: Path, network: str = "tiny") -> None:
    """Write what a run of a small network leaves to ``run`` in the folder."""
    register_tiny()
    (folder / "run").mkdir(exist_ok=True)
    model = fb.create_model(network, num_classes=3, rngs=nnx.Rngs(0))
    fb.save_weights(model, folder / "run" / "model.safetensors")
    Card(network, 3, PREPROCESS, classes=("a", "b", "c")).write(folder / "run")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return a folder with a finished run, and what was written to `out` before."""
    finished_run(tmp_path)
    (tmp_path / "out" / "page").mkdir(parents=True)
    for name in ("a.safetensors", "a.pth", "a.json", "page/index.html", "a.onnx", "a.pt2"):
        (tmp_path / "out" / name).write_text("what was here before")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["convert", "run", "out/a.safetensors", "--to", "native"], "out/a.safetensors"),
        (["convert", "run", "out/a.pth", "--to", "native"], "out/a.pth"),
        (["average", "run", "run", "--out", "out/mean"], "model.safetensors"),
        ([*UNIT, "--json", "out/a.json"], "out/a.json"),
        ([*UNIT, "--report", "out/page"], "out/page/"),
        ([*BENCH, "--json", "out/a.json"], "out/a.json"),
        ([*BENCH, "--plot", "out/page"], "out/page/"),
        (["summary", "tiny", "--num-classes", "3"], "No space left on device"),
        (["models", "tiny"], "No space left on device"),
        pytest.param(HUB, "out/hub/config.json", marks=SLOW),
        pytest.param(EVALUATE, "evaluation.json", marks=SLOW),
        pytest.param([*PORT, "--to-port", "out/a.json"], "out/a.json", marks=SLOW),
        pytest.param([*PORT, "--names", "out/names.json"], "out/names.json", marks=SLOW),
        pytest.param(["export", *TINY, "--out", "out/a.onnx"], "out/a.onnx", marks=SLOW),
        pytest.param(["export", *TINY, "--out", "out/a.stablehlo"], "a.stablehlo", marks=SLOW),
        pytest.param(["export", *TINY, "--out", "out/a.pt2"], "out/a.pt2", marks=SLOW),
        pytest.param([*TRAIN, "--out", "out/run"], "out/run", marks=SLOW),
        pytest.param(["kernels", "build"], "native kernels", marks=SLOW),
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) else "",
)
def test_a_command_that_writes(command, named, folder, monkeypatch, capsys):
    make_images(folder / "images", per_class=4)
    if command == HUB:
        finished_run(folder, TIMM)
    before = written(folder)
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(folder / "cache"))
    monkeypatch.setattr("flaxblocks.bench.timing.run.bench", measured)
    with Path("/dev/full").open("w") as full, small_files(FULL), monkeypatch.context() as patch:
        if command[0] in ("summary", "models"):
            patch.setattr(sys, "stdout", full)
        status = main(command)
    said = capsys.readouterr().err
    assert status == 2, said
    assert said.startswith("flaxblocks: error: ") and said.count("\n") == 1, said
    assert named in said
    assert {n: c for n, c in written(folder).items() if not n.startswith("cache/")} == before


def test_the_pictures_of_a_run_and_of_an_evaluation(folder):
    before = written(folder)
    records = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}]
    with small_files(FULL):
        with pytest.raises(OSError, match=r"^cannot write curves\.png: File too large$"):
            plot(records, "curves.png")
        with pytest.raises(OSError, match=r"^cannot write page/evaluation\.json"):
            write_report(Path("page"), {"loss": 0.5}, np.eye(3, dtype=int), "abc")
    assert written(folder) == before


# The output itself


def test_output_to_a_full_disk_is_one_sentence():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "flaxblocks", "models", "mnasnet0_5"]
        done = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "flaxblocks: error: [Errno 28] No space left on device\n"


def test_output_that_nobody_reads_ends_quietly(capsys, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed)
        assert main(["models"]) == 128 + signal.SIGPIPE
    assert capsys.readouterr().err == ""
