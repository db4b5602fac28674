"""A command that is killed while it writes leaves the old file or the new one, not half of one."""

import os
import signal
import subprocess
import sys
import zipfile
from itertools import count
from pathlib import Path

import pytest

from tests.cli.test_full_disk import (
    BENCH,
    EVALUATE,
    HUB,
    PORT,
    ROOT,
    TIMM,
    TINY,
    UNIT,
    finished_run,
)
from tests.helpers.tiny_training import make_images


def visible(folder: Path) -> dict[str, bytes]:
    """Return the files under their final names, without those in hidden folders."""
    found = (path for path in folder.rglob("*") if path.is_file())
    names = ((path, path.relative_to(folder).as_posix()) for path in found)
    return {
        name: content(path)
        for path, name in names
        if not any(part.startswith(".") for part in name.split("/"))
    }


def content(path: Path) -> bytes:
    """Return the content; of PyTorch's programs, each of which has an identity, what is in them."""
    if path.suffix != ".pt2":
        return path.read_bytes()
    with zipfile.ZipFile(path) as file:
        return "\n".join(sorted(file.namelist())).encode()


def states(command: list[str], folder: Path) -> list[dict[str, bytes]]:
    """Return what is there after a kill at each change of a file, and at last after none."""
    found = []
    for number in count(1):
        out = folder / "out"
        out.mkdir()
        (out / "a.safetensors").write_text("what was here before")
        program = [sys.executable, "-m", "tests.helpers.killed", str(number), str(out), *command]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            program, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True
        )
        found.append(visible(out))
        out.rename(folder / f"out{number}")
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stderr
            return found
    raise AssertionError


@pytest.mark.slow  # each kill takes a process that imports JAX
@pytest.mark.parametrize(
    "command",
    [
        ["convert", "run", "out/a.safetensors", "--to", "native"],
        ["convert", "run", "out/a.pth", "--to", "native"],
        ["average", "run", "run", "--out", "out/mean"],
        ["export", *TINY, "--out", "out/a.onnx"],
        ["export", *TINY, "--out", "out/a.stablehlo"],
        ["export", *TINY, "--out", "out/a.pt2"],
        EVALUATE,
        [*PORT, "--to-port", "out/port.json"],
        [*PORT, "--names", "out/names.json"],
        [*UNIT, "--report", "out/page", "--json", "out/a.json"],
        HUB,
        [*BENCH, "--json", "out/a.json", "--plot", "out/page"],
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]),
)
def test_what_a_killed_command_leaves(command, tmp_path):
    finished_run(tmp_path, TIMM if command == HUB else "tiny")
    make_images(tmp_path / "images", per_class=4)
    *killed, whole = states(command, tmp_path)
    assert killed
    old = {"a.safetensors": b"what was here before"}
    assert whole != old
    for left in killed:
        for name, content in left.items():
            assert content in (old.get(name), whole.get(name)), name
        assert "mean/model.json" in left or not any(name.startswith("mean/") for name in left)
