"""Compiling the native kernels: once, whole, and with a clear word when it cannot be done."""

import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks import ops
from flaxblocks.ops.native import build, targets

# Compiles nothing: writes where the compiler would, and a line to a log for each time.
COMPILER = """#!{python}
import sys, pathlib
if "--version" in sys.argv:
    print("{version}")
    sys.exit()
with open("{log}", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if "{error}":
    print("line\\n" * 50 + "{error}", file=sys.stderr)
    sys.exit(1)
pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(b"a library")
"""


class Compiler:
    """A compiler that is named in $CXX."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.log = folder / "log"
        self._path = folder / "compiler"
        self.becomes()
        monkeypatch.setenv("CXX", str(self._path))
        monkeypatch.setenv("FLAXBLOCKS_CACHE", str(folder / "cache"))

    def becomes(self, version: str = "1", error: str = "") -> None:
        self._path.write_text(
            COMPILER.format(python=sys.executable, version=version, error=error, log=self.log)
        )
        self._path.chmod(self._path.stat().st_mode | stat.S_IXUSR)

    @property
    def runs(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    return Compiler(tmp_path, monkeypatch)


def test_compiles_once(compiler: Compiler, tmp_path: Path):
    path = build.library()
    assert path.parent == tmp_path / "cache" and path.read_bytes().startswith(b"a library")
    assert build.library() == path
    (run,) = compiler.runs
    assert run.startswith("-O3 -march=native -std=c++17 -shared -fPIC -I")
    assert list(path.parent.iterdir()) == [path]


def test_another_compiler_or_version_has_a_library_of_its_own(compiler: Compiler, monkeypatch):
    first = build.library()
    compiler.becomes(version="2")
    second = build.library()
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-g"))
    assert len({first, second, build.library()}) == 3


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 100, None])
def test_a_damaged_library_is_compiled_anew(compiler: Compiler, damage: bytes | None):
    path = build.library()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if damage is None else damage)
    assert build.library() == path
    assert path.read_bytes() == whole and len(compiler.runs) == 2


def test_several_at_once_leave_one_whole_library(compiler: Compiler):
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: build.library(), range(4)))
    (path,) = paths
    assert list(path.parent.iterdir()) == [path]
    assert build.library() == path


def fails(match: str) -> None:
    targets.load.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=match), ops.convolution("native"):
            pytest.fail("it went on")
    finally:
        targets.load.cache_clear()


def test_a_failing_compiler_is_quoted(compiler: Compiler, tmp_path: Path):
    compiler.becomes(error="unknown option -march")
    fails(r"native convolutions need a C\+\+17 compiler.*\n(line\n){9}unknown option -march$")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_compiler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    fails(r"none of c\+\+, g\+\+ and clang\+\+ is in \$PATH; install one, or name it in \$CXX")


def test_a_named_compiler_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    fails("cannot run the C\\+\\+ compiler no-such-compiler: .*name another in \\$CXX")


def test_a_folder_that_cannot_be_written_is_said(compiler: Compiler, tmp_path: Path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(tmp_path / "file" / "cache"))
    fails(r"cannot keep its kernels in .*file/cache: .*\$FLAXBLOCKS_CACHE")


def test_no_compiler_is_needed_outside(monkeypatch: pytest.MonkeyPatch):
    targets.load.cache_clear()
    monkeypatch.setattr(targets, "library", lambda: pytest.fail("it was asked for"))
    conv = fb.Conv(8, 8, 3, groups=8, rngs=nnx.Rngs(0))
    assert conv(jnp.ones((1, 5, 5, 8))).shape == (1, 5, 5, 8)
