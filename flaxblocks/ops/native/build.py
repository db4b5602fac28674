"""The kernels' shared library: compiled once for a machine, then found in the cache."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import jax

from flaxblocks._base.cache import cache_folder

SOURCES = Path(__file__).parent
# At -O2 GCC 12 leaves loops rolled up: 12 ms in place of 5 for 8x56x56x128 in 32 groups.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
DIGEST = 32  # bytes of SHA-256 behind the library's own


def library() -> Path:
    """Return the compiled kernels, from the cache where they were compiled before.

    Raises:
        RuntimeError: if there is no compiler, it fails, or the cache cannot be written.
    """
    compiler = _compiler()
    path = cache_folder() / f"kernels-{_key(compiler)}.so"
    if not _is_whole(path):
        _compile(compiler, path)
    return path


def sources_digest() -> str:
    """Return what tells one version of the kernels from another."""
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in (".h", ".cc"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _compiler() -> list[str]:
    if own := os.environ.get("CXX"):
        return shlex.split(own)
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    raise RuntimeError(
        "native convolutions need a C++17 compiler: none of c++, g++ and clang++ is in $PATH; "
        "install one, or name it in $CXX"
    )


def _key(compiler: list[str]) -> str:
    """Return what the compiled library depends on, hashed."""
    kind = _run([*compiler, "--version"])
    parts = (sources_digest(), *compiler, *FLAGS, kind, _processor(), version("jaxlib"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Return what ``-march=native`` looks at: the processor's model and its extensions."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    named = ("model name", "flags", "CPU part", "Features")
    return "\n".join(line for line in first.splitlines() if line.startswith(named))


def _is_whole(path: Path) -> bool:
    """Return whether the file is there and what was written: loading half of one ends a process."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data[:-DIGEST]).digest() == data[-DIGEST:]


def _compile(compiler: list[str], path: Path) -> None:
    """Compile to a folder aside, then move: of two processes that do, the later replaces."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="compiling-") as folder:
            made = Path(folder) / "kernels.so"
            include = ("-I", str(jax.ffi.include_dir()))
            _run([*compiler, *FLAGS, *include, str(SOURCES / "kernels.cc"), "-o", str(made)])
            with made.open("r+b") as file:
                digest = hashlib.sha256(file.read()).digest()
                file.write(digest)  # the loader does not look behind the library's end
            os.replace(made, path)
    except OSError as error:
        raise RuntimeError(
            f"native convolutions cannot keep its kernels in {path.parent}: {error}; "
            "name a folder that can be written in $FLAXBLOCKS_CACHE"
        ) from error


def _run(command: list[str]) -> str:
    """Return what the compiler printed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise RuntimeError(
            f"native convolutions cannot run the C++ compiler {command[0]}: {error}; "
            "name another in $CXX"
        ) from error
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-10:])
        raise RuntimeError(
            "native convolutions need a C++17 compiler that takes -march=native; this failed: "
            f"{shlex.join(command)}\n{last}"
        )
    return done.stdout
