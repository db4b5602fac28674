"""Training that is killed goes on as if it had not been."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flaxblocks.train.run.json_log import read_log
from tests.helpers.tiny_training import damage, free_port, make_images

ROOT = Path(__file__).parents[3]
PATIENCE = 300  # seconds


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = make_images(tmp_path_factory.mktemp("images"))
    damage(folder / "b" / "3.png")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Where compiled programs are kept: each process would spend most of its time on them."""
    return tmp_path_factory.mktemp("compiled")


def start(
    images: Path, out: Path, steps: int, cache: Path, cluster: tuple = ()
) -> subprocess.Popen:
    arguments = map(str, (images, out, steps, *cluster))
    command = [sys.executable, "-m", "tests.helpers.tiny_training", *arguments]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=pipe, stdout=pipe, text=True)


def start_two(images: Path, out: Path, steps: int, cache: Path) -> list[subprocess.Popen]:
    address = f"127.0.0.1:{free_port()}"
    return [start(images, out, steps, cache, (address, 2, process)) for process in range(2)]


def finish(*processes: subprocess.Popen) -> list[str]:
    """Wait for processes that share the work, and return what they, not Gloo, print."""
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return ["\n".join(line for line in out.splitlines() if "[Gloo]" not in line) for out, _ in said]


def wait_for(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        assert process.poll() is None, f"it ended by itself: {process.communicate()[1]}"
        assert time.monotonic() < until
        time.sleep(0.0005)


def last_step(out: Path) -> int:
    return max((line["step"] for line in read_log(out / "log.jsonl")), default=0)


def is_saving(out: Path) -> bool:
    return any((out / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def kill_at(process: subprocess.Popen, out: Path, step: int, rng: np.random.Generator) -> str:
    """Kill the process after a step, at any moment or while it writes a checkpoint."""
    wait_for(process, lambda: last_step(out) >= step)
    moment = "saving" if rng.random() < 0.5 else "any"
    if moment == "saving":
        wait_for(process, lambda: is_saving(out))
    else:
        time.sleep(rng.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return moment


def assert_same_bits(whole: Path, out: Path) -> None:
    expected, got = (np.load(folder / "state.npz") for folder in (whole, out))
    assert expected.files == got.files
    assert [name for name in got.files if got[name].tobytes() != expected[name].tobytes()] == []


def survive(images: Path, tmp_path: Path, cache: Path, kills: int, steps: int) -> None:
    finish(start(images, tmp_path / "undisturbed", steps, cache))
    rng = np.random.default_rng()
    out = tmp_path / "killed"
    for kill in range(kills):
        step = int(steps * (kill + rng.random()) / (kills + 1))
        kill_at(start(images, out, steps, cache), out, step, rng)
    finish(start(images, out, steps, cache))
    assert_same_bits(tmp_path / "undisturbed", out)
    logged = [line["step"] for line in read_log(out / "log.jsonl") if "loss" in line]
    assert logged == list(range(1, steps + 1))


def test_a_killed_run_ends_with_the_same_bits(images, tmp_path, cache):
    survive(images, tmp_path, cache, kills=1, steps=40)


@pytest.mark.slow
def test_twenty_times_killed_it_ends_with_the_same_bits(images, tmp_path, cache):
    survive(images, tmp_path, cache, kills=20, steps=400)


@pytest.mark.slow
def test_two_processes_end_at_the_same_step_where_one_is_asked_to(images, tmp_path, cache):
    steps, whole, out = 400, tmp_path / "whole", tmp_path / "asked"
    finish(*start_two(images, whole, steps, cache))
    first, second = start_two(images, out, steps, cache)
    wait_for(first, lambda: last_step(out) >= 5)
    second.send_signal(signal.SIGTERM)
    said = finish(first, second)
    kind, step = said[0].split()
    assert said[0] == said[1] and kind == "SIGTERM" and 5 < int(step) < steps
    assert (out / "checkpoints" / step).is_dir()
    assert finish(*start_two(images, out, steps, cache)) == ["", ""]
    assert_same_bits(whole, out)
