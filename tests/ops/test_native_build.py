"""Compiling the native kernels: once, whole, and with a clear word when it cannot be done."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks import ops
from flaxblocks.ops.native import build, compiling, targets

BEST, *_, LEAST = compiling.supported()

# Compiles nothing: writes where the compiler would, and a line to a log for each time.
COMPILER = """#!/bin/sh
echo "$*" >> '{log}'
if [ '{error}' ]; then
    for _ in $(seq 50); do echo line >&2; done
    echo '{error}' >&2
    exit 1
fi
while [ "$1" != -o ]; do shift; done
printf 'a library' > "$2"
"""


class Compiler:
    """A compiler that is named in $CXX."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.log = folder / "log"
        self._path = folder / "compiler"
        self.becomes()
        monkeypatch.setenv("CXX", str(self._path))

    def becomes(self, error: str = "") -> None:
        self._path.write_text(COMPILER.format(error=error, log=self.log))
        self._path.chmod(self._path.stat().st_mode | stat.S_IXUSR)

    @property
    def runs(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def unloaded():
    """Forget the kernels that are loaded, and those that the test loads."""
    for load in (targets.load, targets.load_found):
        load.cache_clear()
    yield
    for load in (targets.load, targets.load_found):
        load.cache_clear()


@pytest.fixture
def empty(unloaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Come without compiled kernels, and with an empty cache."""
    monkeypatch.setattr(build, "PACKAGE", tmp_path / "package")
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FLAXBLOCKS_KERNELS", raising=False)
    return tmp_path


@pytest.fixture
def compiler(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    return Compiler(empty, monkeypatch)


def libraries(folder: Path) -> list[Path]:
    """Return what is in a folder and stays there."""
    return [path for path in folder.iterdir() if path.name != "lock"]


def test_compiles_once(compiler: Compiler, empty: Path):
    level, path = build.library()
    assert level == BEST and path.parent.parent == empty / "cache"
    assert path.read_bytes().startswith(b"a library")
    assert build.library() == build.find() == (level, path)
    *units, link = compiler.runs
    assert len(units) == len(compiling.UNITS) and " -shared " in f" {link}"
    assert all(unit.startswith(" ".join((*compiling.FLAGS, *BEST.flags))) for unit in units)
    assert libraries(path.parent) == [path]


def test_other_sources_or_flags_have_a_library_of_their_own(compiler: Compiler, monkeypatch):
    first = build.library()
    monkeypatch.setattr(compiling, "FLAGS", (*compiling.FLAGS, "-g"))
    second = build.library()
    monkeypatch.setattr(compiling, "sources_digest", lambda: "others")
    assert len({first, second, build.library()}) == 3


@pytest.mark.parametrize("damage", [b"", b"x" * 100, None], ids=["empty", "other", "short"])
def test_a_damaged_library_is_compiled_anew(compiler: Compiler, damage: bytes | None):
    path = build.library().path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if damage is None else damage)
    assert build.find() is None
    assert build.library().path == path and path.read_bytes() == whole


def test_several_at_once_compile_one_library(compiler: Compiler):
    with ThreadPoolExecutor(4) as pool:
        paths = {found.path for found in pool.map(lambda _: build.library(), range(4))}
    (path,) = paths
    assert libraries(path.parent) == [path]
    assert len(compiler.runs) == len(compiling.UNITS) + 1


def test_two_processes_at_once_compile_one_library(compiler: Compiler):
    code = "from flaxblocks.ops.native import build; build.build(build.usable()[0])"
    two = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in two] == [0, 0]
    assert len(compiler.runs) == len(compiling.UNITS) + 1
    assert build.find() is not None


def test_a_cache_that_can_only_be_read_serves(compiler: Compiler, monkeypatch):
    found = build.library()
    monkeypatch.setattr(build, "build", lambda level: pytest.fail("it compiled"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    found.path.parent.chmod(0o500)
    try:
        assert build.library() == found
    finally:
        found.path.parent.chmod(0o700)


def test_the_package_comes_before_the_cache(compiler: Compiler, empty: Path):
    cached = build.library()
    packaged = empty / "package" / cached.path.name
    packaged.parent.mkdir()
    packaged.touch()
    assert build.find() == (BEST, packaged)


def test_a_home_in_the_name_of_the_cache(compiler: Compiler, empty: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(empty / "home"))
    monkeypatch.setenv("FLAXBLOCKS_CACHE", "~/x")
    assert (empty / "home" / "x") in build.library().path.parents


def test_the_level_can_be_named(compiler: Compiler, monkeypatch):
    monkeypatch.setenv("FLAXBLOCKS_KERNELS", LEAST.name)
    assert build.library().level == LEAST
    monkeypatch.setenv("FLAXBLOCKS_KERNELS", "off")
    assert build.find() is None
    fails(r"native kernels cannot be used: `\$FLAXBLOCKS_KERNELS` is off")
    monkeypatch.setenv("FLAXBLOCKS_KERNELS", "x86-64-v9")
    with pytest.raises(ValueError, match=r"must be off, .* on this processor, got x86-64-v9"):
        build.find()


def test_a_machine_without_kernels_is_said(compiler: Compiler, monkeypatch):
    monkeypatch.setattr(compiling.platform, "machine", lambda: "riscv64")
    assert build.find() is None
    fails("native kernels cannot be used: there are none for this machine")


@pytest.mark.parametrize(
    ("extensions", "names"),
    [
        (compiling._V4, ["x86-64-v4", "x86-64-v3", "x86-64-v2"]),
        (compiling._V4.replace(" avx512vl", ""), ["x86-64-v3", "x86-64-v2"]),
        (compiling._V2, ["x86-64-v2"]),
        ("sse sse2", []),
    ],
)
def test_the_processor_tells_its_levels(monkeypatch, extensions: str, names: list[str]):
    monkeypatch.setattr(compiling.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(
        compiling.Path, "read_text", lambda _: f"processor : 0\nflags\t\t: fpu {extensions}\n\n"
    )
    assert [level.name for level in compiling.supported()] == names


def fails(match: str) -> None:
    with pytest.raises(RuntimeError, match=match), ops.convolution("native"):
        pytest.fail("it went on")


def test_a_failing_compiler_is_quoted(compiler: Compiler, empty: Path):
    compiler.becomes(error="unknown option -march")
    fails(r"need a C\+\+17 compiler, GCC 12 or .* this failed: .*\n(line\n){9}unknown option")
    (folder,) = (empty / "cache").iterdir()
    assert libraries(folder) == []


def test_what_is_no_library_is_said(compiler: Compiler):
    fails(r"those in .*/kernels-.*so cannot be loaded: .*(file too short|invalid ELF header)")
    targets.load_found.cache_clear()
    with pytest.warns(UserWarning, match="convolutions do without native kernels: those in .*"):
        assert targets.load_found() is None


def test_no_compiler_is_said(empty: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(empty))
    fails(r"none of c\+\+, g\+\+ and clang\+\+ is in \$PATH; install one, or name it in \$CXX")


@pytest.mark.parametrize(
    ("command", "match"),
    [
        ("no-such-compiler", r"compiler no-such-compiler cannot be run: .*name another in \$CXX"),
        ('g++ "', r"`\$CXX` must be a command, got 'g\+\+ \"': No closing quotation"),
        (" ", r"`\$CXX` must be a command, got ' '"),
        ("true", r"need a C\+\+17 compiler.*; this made nothing: true "),
    ],
)
def test_what_is_no_compiler_is_said(empty: Path, monkeypatch, command: str, match: str):
    monkeypatch.setenv("CXX", command)
    fails(match)


def test_a_folder_that_cannot_be_written_is_said(compiler: Compiler, empty: Path, monkeypatch):
    (empty / "file").touch()
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(empty / "file" / "cache"))
    fails(r"cannot be kept in the cache: .*file/cache.*\$FLAXBLOCKS_CACHE")


def test_no_home_is_said(compiler: Compiler, monkeypatch):
    for name in ("FLAXBLOCKS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert build.find() is None
    fails(r"cannot be kept in the cache: there is no home folder .*\$FLAXBLOCKS_CACHE")


def test_no_compiler_is_needed_outside(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "find_compiler", lambda: pytest.fail("it was asked for"))
    conv = fb.Conv(8, 8, 3, groups=8, rngs=nnx.Rngs(0))
    assert conv(jnp.ones((1, 5, 5, 8))).shape == (1, 5, 5, 8)


COMMON = compiling.SOURCES / "common.h"


def preprocess(tmp_path: Path, *options: str) -> subprocess.CompletedProcess:
    include = str(jax.ffi.include_dir())
    command = [*compiling.find_compiler(), *options, "-std=c++17", "-I", include, "-E", str(COMMON)]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)


def test_an_old_compiler_is_told_which_is_needed(tmp_path: Path):
    done = preprocess(tmp_path, "-U__clang__", "-U__GNUC__", "-D__GNUC__=11")
    assert done.returncode
    assert "need GCC 12 or newer, or clang 14 or newer" in done.stderr
    assert preprocess(tmp_path).returncode == 0


@pytest.mark.slow
def test_a_c_compiler_makes_what_loads(empty: Path, monkeypatch):
    monkeypatch.setenv("CXX", "gcc")
    path = build.library().path
    code = f"import ctypes; ctypes.CDLL({str(path)!r}).flaxblocks_narrow"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
