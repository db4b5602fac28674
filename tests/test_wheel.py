"""The wheel that the tree gives installs without torch, and works, with native kernels or without.

The first wheel takes the kernels that an install left in the tree; where their sources have changed
since, it compiles them, which takes minutes.
"""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import flaxblocks as fb
from flaxblocks.ops.native.compiling import levels, library_name, supported

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


PACKAGES = ("flaxblocks", "torch_ref", "parity")


def run(*command: object, cwd: Path = ROOT, **variables: str) -> str:
    environment = os.environ | variables
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_wheel(tree: Path, folder: Path, **variables: str) -> Path:
    """Build as pip does, but with the hatchling and jaxlib that are installed here."""
    run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        folder,
        cwd=tree,
        **variables,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of a tree without compiled kernels, made without a compiler."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        hidden = shutil.ignore_patterns("built", "__pycache__")
        shutil.copytree(ROOT / package, tree / package, ignore=hidden)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return make_wheel(tree, tmp_path_factory.mktemp("pure"), CXX="no-such-compiler")


def test_holds_the_packages_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"flaxblocks-{fb.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {*PACKAGES, info}
    sources = (
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".h", ".cc")
    )
    assert {path.relative_to(ROOT).as_posix() for path in sources} <= names
    assert "flaxblocks/ops/native/narrow.cc" in names
    assert {"flaxblocks/py.typed", f"{info}/licenses/LICENSE"} <= names


def kernels(wheel: Path) -> set[str]:
    """Return the file names of the compiled kernels in a wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    return {Path(name).name for name in names if name.startswith("flaxblocks/ops/native/built/")}


def test_comes_with_the_kernels_of_every_level(wheel: Path):
    assert kernels(wheel) == {library_name(level) for level in levels()}
    assert not wheel.name.endswith("any.whl")


def test_comes_without_where_there_is_no_compiler(pure_wheel: Path):
    assert kernels(pure_wheel) == set()
    assert pure_wheel.name.endswith("-py3-none-any.whl")


def required(found: Distribution, extras: set[str], names: set[str]) -> set[str]:
    """Return the names of what a distribution needs, and of what that needs, with `names`."""
    for requirement in map(Requirement, found.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            if requirement.name not in names or requirement.extras:
                names.add(requirement.name)
                required(distribution(requirement.name), requirement.extras, names)
    return names


def link(name: str, site: Path) -> None:
    """Give an environment a package of this one."""
    found = distribution(name)
    files = [file for file in found.files or () if ".." not in file.parts]
    for top in {file.parts[0] for file in files} - {"__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())


def test_installs_and_runs_in_an_empty_environment_without_torch(
    wheel: Path, pure_wheel: Path, tmp_path: Path
):
    """What it requires is there already; it may find nothing else, and pip may fetch nothing."""
    environment = tmp_path / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/*/site-packages")
    info = zipfile.Path(wheel, f"flaxblocks-{fb.__version__}.dist-info/")
    for name in required(PathDistribution(info), set(), set()):
        link(name, site)
    install = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index")
    run(*install, wheel)
    works(python, tmp_path, f"in use: {supported()[0].name}, which came with the package: ")
    run(*install, "--no-deps", "--force-reinstall", pure_wheel)
    works(
        python, tmp_path, "in use: none, the package came without them; `flaxblocks kernels build`"
    )


def works(python: Path, folder: Path, kernels: str) -> None:
    printed = run(python, "-W", "error", "-c", USE, cwd=folder)
    assert printed.strip() == f"{fb.__version__} (2, 5, 5, 12) 2"
    empty = {"FLAXBLOCKS_CACHE": str(folder / "cache"), "FLAXBLOCKS_KERNELS": ""}
    assert run(python.parent / "flaxblocks", "kernels", cwd=folder, **empty).startswith(kernels)
