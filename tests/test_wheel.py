"""The wheel that the tree gives installs without torch, and works."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import flaxblocks as fb

ROOT = Path(__file__).parent.parent

USE = """
import importlib.util
import sys

import flaxblocks as fb
from flax import nnx
import jax.numpy as jnp

y = nnx.jit(lambda block, x: block(x))(fb.MBConv(8, 12, rngs=nnx.Rngs(0)), jnp.ones((2, 5, 5, 8)))
assert importlib.util.find_spec("torch") is None
assert "site-packages" in fb.__file__
print(fb.__version__, y.shape, len(fb.state_dict(fb.Conv(3, 4, 3, rngs=nnx.Rngs(0)))))
"""


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ".")
    (path,) = folder.glob("*.whl")
    return path


def test_holds_the_packages_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"flaxblocks-{fb.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"flaxblocks", "torch_ref", "parity", info}
    packages = (ROOT / name for name in ("flaxblocks", "torch_ref", "parity"))
    sources = (
        path
        for package in packages
        for path in package.rglob("*")
        if path.suffix in (".py", ".h", ".cc")
    )
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names
    assert "flaxblocks/ops/native/kernels.cc" in names
    assert {"flaxblocks/py.typed", f"{info}/licenses/LICENSE"} <= names


def test_installs_and_runs_in_an_empty_environment_without_torch(wheel: Path, tmp_path: Path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    printed = run(python, "-W", "error", "-c", USE, cwd=tmp_path)
    assert printed.strip() == f"{fb.__version__} (2, 5, 5, 12) 2"
