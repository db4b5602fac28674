"""`flaxblocks kernels`: what is in use, and why."""

from pathlib import Path

import pytest

from flaxblocks.cli import main
from flaxblocks.ops.native import build, targets
from flaxblocks.ops.native.compiling import levels, library_name, supported


@pytest.fixture(autouse=True)
def none_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Come without kernels, and load none."""
    monkeypatch.setattr(build, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(targets, "load_found", build.find)
    monkeypatch.setenv("FLAXBLOCKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FLAXBLOCKS_KERNELS", raising=False)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["kernels", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_packages_own(capsys, tmp_path: Path):
    best = supported()[0]
    path = tmp_path / "package" / library_name(best)
    path.parent.mkdir()
    path.touch()
    first, *each = said(capsys)
    assert first == f"in use: {best.name}, which came with the package: {path}"
    assert f"{best.name}: this processor has it, {path}" in each
    assert [line.partition(":")[0] for line in each] == [level.name for level in levels()]
    assert sum(line.endswith("not compiled") for line in each) == len(levels()) - 1


def test_none_there(capsys):
    assert said(capsys)[0] == (
        "in use: none, the package came without them; `flaxblocks kernels build` compiles them"
    )


def test_off(capsys, monkeypatch):
    monkeypatch.setenv("FLAXBLOCKS_KERNELS", "off")
    assert said(capsys)[0] == "in use: none, `$FLAXBLOCKS_KERNELS` is off"


def test_those_that_cannot_be_loaded(capsys, tmp_path: Path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / library_name(supported()[0])).touch()
    monkeypatch.setattr(targets, "load_found", lambda: None)
    assert said(capsys)[0] == "in use: none, those that are there cannot be loaded"


def test_build_compiles_them(capsys, tmp_path: Path, monkeypatch):
    def compile_libraries(_, which, folder: Path) -> list[Path]:
        path = folder / library_name(which[0])
        path.write_bytes(b"a library")
        return [path]

    monkeypatch.setattr(build, "compile_libraries", compile_libraries)
    first = said(capsys, "build")[0]
    assert first.startswith(f"in use: {supported()[0].name}, from the cache: {tmp_path}")


def test_a_compiler_that_fails_is_said_in_a_line(capsys, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    assert main(["kernels", "build"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("flaxblocks: error: the native kernels need a C++17 compiler")
