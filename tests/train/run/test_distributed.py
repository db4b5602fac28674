"""Several processes through the command line, and runs that go on elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from flaxblocks.cli import main
from flaxblocks.train.data import ImageFolder
from flaxblocks.train.run.checkpoints import read_position
from flaxblocks.train.run.json_log import read_log
from flaxblocks.train.run.training import Training
from flaxblocks.train.step.sharding import shard_largest
from parity.trace.jax_program import QUICK
from tests.helpers.tiny_training import (
    BATCH,
    PREPROCESS,
    RECIPE,
    Tiny,
    free_port,
    make_images,
    register_tiny,
)

ROOT = Path(__file__).parents[3]
EXACT = 1e-10  # of a loss in float64


def losses(out: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line}


def start(arguments: Sequence[object], devices: int, **environment: str) -> subprocess.Popen[str]:
    quick = [f"--{name}={value}".lower() for name, value in QUICK.items()]
    flags = " ".join((f"--xla_force_host_platform_device_count={devices}", *quick))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.tiny_training", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> list[tuple[str, str]]:
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def test_two_processes_through_the_command_line(tmp_path: Path):
    """They make the run that one process makes, and the first one says so."""
    register_tiny()
    data = make_images(tmp_path / "images" / "train").parent
    make_images(data / "val", per_class=2)
    options = ["--model", "tiny", "--data", str(data), "--recipe", "quick", "--epochs", "1"]
    options += ["--opt", "momentum", "--lr-base", "1", "--log", "tensorboard"]
    options += ["--batch-size", "4", "--input-size", "16", "--log-every", "1", "--out"]
    one, two = tmp_path / "one", tmp_path / "two"
    where = ["--distributed", "--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", 2]
    shared = ["flaxblocks", "train", *options, two, "--fsdp", "--mesh-groups", 2, *where]
    processes = [start([*shared, "--process-id", number], 2) for number in range(2)]
    assert main(["train", *options, str(one)]) == 0
    first, second = finish(*processes)
    assert f"{two}: tiny after step 5" in first[0] and "after step" not in second[0]
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)  # float32, in another order
    expected, got = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    assert (two / "log-1.jsonl").is_file()


@pytest.mark.slow
def test_statistics_of_some_devices_through_the_command_line(tmp_path: Path):
    """Those of all four devices are the batch's, those of two are not."""
    register_tiny()
    options = ["--model", "tiny", "--data", str(make_images(tmp_path / "images")), "--epochs", "1"]
    options += ["--recipe", "quick", "--batch-size", "4", "--log-every", "1"]
    found = {}
    for devices in ("global", "4", "2"):
        out = tmp_path / devices
        assert main(["train", *options, "--sync-bn", devices, "--out", str(out)]) == 0
        found[devices] = losses(out)
    assert found["4"] == pytest.approx(found["global"], rel=1e-4)  # float32, in another order
    assert abs(found["2"][1] - found["global"][1]) > 1e-3


@pytest.mark.slow
def test_processes_find_each_other_under_slurm(tmp_path: Path):
    data, out = make_images(tmp_path / "images"), tmp_path / "out"
    job = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_NODELIST": "localhost"}
    job |= {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    command = ["flaxblocks", "train", "--model", "tiny", "--data", data, "--out", out]
    command += ["--distributed", "--recipe", "quick", "--epochs", "1", "--batch-size", "4"]
    processes = [
        start(command, 1, **job, SLURM_PROCID=str(number), SLURM_LOCALID=str(number))
        for number in range(2)
    ]
    first, _ = finish(*processes)
    assert f"{out}: tiny after step 5" in first[0]
    assert (out / "log-1.jsonl").is_file()


def trained(images: Path, out: Path, devices: int, **options: Any) -> None:
    """Train in float64."""
    training = Training(
        RECIPE,
        PREPROCESS,
        batch_size=BATCH,
        log_every=1,
        save_every=2,
        keep=9,
        logs=(),
        devices=jax.devices()[:devices],
        **options,
    )
    model = Tiny(dtype=jnp.float64, rngs=nnx.Rngs(0))
    training.run(model, ImageFolder(images), out, resume=True)


def forget(out: Path, until: int) -> None:
    """Leave of a run what was there after a step."""
    for folder in (out / "checkpoints").iterdir():
        if int(folder.name) > until:
            shutil.rmtree(folder)


def test_a_run_goes_on_with_other_devices(tmp_path: Path, x64):
    images = make_images(tmp_path / "images")
    trained(images, tmp_path / "out", 4, rule=shard_largest, groups=2)
    whole = losses(tmp_path / "out")
    forget(tmp_path / "out", 4)
    trained(images, tmp_path / "out", 2)
    assert list(whole) == list(range(1, 11))
    assert losses(tmp_path / "out") == pytest.approx(whole, rel=EXACT)


@pytest.mark.slow
def test_a_run_goes_on_with_other_processes(tmp_path: Path):
    images, steps = make_images(tmp_path / "images"), 20
    whole, moved = tmp_path / "whole", tmp_path / "moved"

    def run(out: Path, processes: int, devices: int) -> None:
        address = f"127.0.0.1:{free_port()}"
        many = processes > 1
        finish(
            *(
                start(
                    [images, out, steps, *([address, processes, number] if many else [])],
                    devices,
                    JAX_ENABLE_X64="1",
                )
                for number in range(processes)
            )
        )

    run(whole, 1, 1)
    run(moved, 2, 2)
    forget(moved, 8)
    run(moved, 1, 2)
    forget(moved, 16)
    run(moved, 4, 1)
    assert losses(moved) == pytest.approx(losses(whole), rel=EXACT)


def test_the_position_in_the_data_is_that_of_all_processes(tmp_path: Path):
    for number, index in enumerate((14, 15)):
        path = tmp_path / f"process_{number}-of-2.json"
        path.write_text(json.dumps({"next_index": index}))
    assert [read_position(tmp_path, n, 2)["next_index"] for n in (0, 1)] == [14, 15]
    assert read_position(tmp_path, 0, 1) == {"next_index": 28}
    assert read_position(tmp_path, 3, 4) == {"next_index": 7}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--coordinator", "a:1"], "give `--coordinator`, `--num-processes` and `--process-id` t"),
        (
            ["--coordinator", "a:1", "--num-processes", "2", "--process-id", "2"],
            "`--process-id` must be below 2, got 2",
        ),
        (["--sync-bn", "some"], "`--sync-bn` must be global, replica or a number of devices"),
        (["--sync-bn", "3"], "`--sync-bn` must divide the 4 devices, got 3"),
        (["--mesh-groups", "3"], "`--mesh-groups` must divide the 4 devices, got 3"),
    ],
)
def test_bad_options_are_one_sentence(options: list[str], words: str, tmp_path: Path, capsys):
    register_tiny()
    images = make_images(tmp_path / "images")
    command = ["train", "--model", "tiny", "--data", str(images), "--out", str(tmp_path / "out")]
    assert main([*command, "--batch-size", "4", *options]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
