"""How the kernels are compiled, for which processors. Alone: the package's build reads this file.

It imports nothing but the standard library, so that it runs before flaxblocks and JAX are there.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

SOURCES = Path(__file__).parent
# The kernels, each with a file of its own, in the units that they are compiled in: what has code in
# common at once, and two units side by side, the longer one first.
UNITS = (
    ("narrow", "narrow_kernel", "inverted_residual"),
    (
        "dense",
        "dense_kernel",
        "pointwise",
        "squeeze_excite",
        "layer_norm",
        "mean",
        "max_pool",
        "max_pool_gradient",
        "batch_norm",
        "batch_norm_gradient",
    ),
)
KERNELS = tuple(kernel for unit in UNITS for kernel in unit)
# At -O2 GCC 12 leaves loops rolled up: 12 ms in place of 5 for 8x56x56x128 in 32 groups.
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-Wno-psabi")
# A compiler that is C's does not add C++'s library by itself, and what lacks it does not load.
LINK = ("-lstdc++", "-lm", "-Wl,-z,defs") if sys.platform == "linux" else ()


@dataclass(frozen=True)
class Level:
    """Processors that have the same extensions at least.

    Args:
        name: of the level.
        flags: the compiler's, beside `FLAGS`.
        extensions: those needed, as Linux calls them in ``/proc/cpuinfo``.
    """

    name: str
    flags: tuple[str, ...]
    extensions: frozenset[str]


def _x86(number: int, extensions: str) -> Level:
    name = f"x86-64-v{number}"
    return Level(name, (f"-march={name}",), frozenset(extensions.split()))


_V2 = "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3"
_V3 = f"{_V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
_V4 = f"{_V3} avx512bw avx512cd avx512dq avx512f avx512vl"

LEVELS: dict[str, tuple[Level, ...]] = {
    "x86_64": (_x86(4, _V4), _x86(3, _V3), _x86(2, _V2)),
    "aarch64": (Level("armv8", ("-march=armv8-a",), frozenset()),),
}
"""The levels of each machine, the best first."""


def levels() -> tuple[Level, ...]:
    """Return the levels that kernels are compiled for on a machine as this one."""
    machine = platform.machine().lower()
    return LEVELS.get({"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine), ())


def supported() -> tuple[Level, ...]:
    """Return those that this processor has, the best first."""
    extensions = _extensions()
    return tuple(level for level in levels() if level.extensions <= extensions)


def library_name(level: Level) -> str:
    """Return the file name of a level's library, another for each version of the sources."""
    parts = (sources_digest(), *KERNELS, *FLAGS, *level.flags)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"kernels-{level.name}-{digest[:16]}.so"


def sources_digest() -> str:
    """Return what tells one version of the sources from another."""
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in (".h", ".cc"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def find_compiler() -> list[str]:
    """Return the command of a C++ compiler: ``$CXX``, or else the first in ``$PATH``.

    Raises:
        RuntimeError: if there is none, or ``$CXX`` is no command.
    """
    if own := os.environ.get("CXX"):
        try:
            command = shlex.split(own)
        except ValueError as error:
            raise RuntimeError(f"`$CXX` must be a command, got {own!r}: {error}") from error
        if not command:
            raise RuntimeError(f"`$CXX` must be a command, got {own!r}")
        return command
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    raise RuntimeError(
        "the native kernels need a C++17 compiler: none of c++, g++ and clang++ is in $PATH; "
        "install one, or name it in $CXX"
    )


def compile_libraries(
    compiler: Sequence[str],
    which: Sequence[Level],
    folder: Path,
    more: Sequence[str] = (),
) -> list[Path]:
    """Compile the libraries of some levels into a folder; each appears there when it is whole.

    Args:
        compiler: the command of the C++ compiler.
        which: the levels.
        folder: where to.
        more: further options, as for sanitizers.

    Raises:
        RuntimeError: if the compiler cannot be run, fails, or makes nothing; if jaxlib is missing.
        OSError: if the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    include = headers()
    with tempfile.TemporaryDirectory(dir=folder, prefix="compiling-") as aside:

        def compile_one(job: tuple[Sequence[str], Level]) -> str:
            unit, level = job
            *before, last = (str(SOURCES / f"{kernel}.cc") for kernel in unit)
            made = Path(aside) / f"{unit[0]}-{level.name}.o"
            flags = [*FLAGS, *level.flags, *more, "-isystem", include]
            for source in before:
                flags += ["-include", source]
            _run([*compiler, *flags, "-c", last, "-o", str(made)], made)
            return str(made)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_one, product(UNITS, which)))
        paths: list[Path] = []
        for place, level in enumerate(which):
            made = Path(aside) / library_name(level)
            parts = objects[place :: len(which)]
            _run([*compiler, "-shared", *more, *parts, "-o", str(made), *LINK], made)
            paths.append(made.replace(folder / made.name))
        return paths


def headers() -> str:
    """Return the folder of XLA's headers, without importing JAX, which may not be there."""
    found = find_spec("jaxlib")
    if found is None or found.origin is None:
        raise RuntimeError("the native kernels need jaxlib's headers, and jaxlib is not installed")
    return str(Path(found.origin).parent / "include")


def _run(command: Sequence[str], made: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise RuntimeError(
            f"the native kernels' C++ compiler {command[0]} cannot be run: {error}; "
            "name another in $CXX"
        ) from error
    if done.returncode or not made.exists():
        said = "\n".join(done.stderr.strip().splitlines()[-10:])
        raise RuntimeError(
            "the native kernels need a C++17 compiler, GCC 12 or clang 14 or newer; "
            f"{'this failed' if done.returncode else 'this made nothing'}: "
            f"{shlex.join(command)}\n{said}".strip()
        )


def _extensions() -> frozenset[str]:
    """Return the processor's extensions, those of the least level where they are not told."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset(_V2.split())
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())
