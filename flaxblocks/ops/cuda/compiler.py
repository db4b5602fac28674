"""CUDA C++ compiled to PTX by NVRTC, the compiler library that comes with JAX for NVIDIA GPUs."""

import ctypes
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Sums of bfloat16 need nothing newer, and each later GPU takes it.
ARCHITECTURE = "compute_80"
# What the kernels use is in the first PTX that has bfloat16. NVRTC writes its own version, which a
# driver older than it refuses.
PTX_VERSION = "7.8"
NAMES = ("libnvrtc.so.13", "libnvrtc.so.12")


@cache
def nvrtc() -> ctypes.CDLL | None:
    """Return the library, None where there is none."""
    spec = find_spec("nvidia")  # the packages of NVIDIA's libraries
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    installed = [str(path) for name in NAMES for at in folders for path in Path(at).rglob(name)]
    for name in (*installed, *NAMES):
        try:
            return ctypes.CDLL(name)
        except OSError:  # not there
            continue
    return None


@cache
def ptx(source: str, constants: tuple[tuple[str, int], ...]) -> str:
    """Return a source file's PTX.

    Args:
        source: CUDA C++.
        constants: what it takes as given, by name.

    Raises:
        RuntimeError: if the source is refused, or there is no compiler.
    """
    library = nvrtc()
    if library is None:
        raise RuntimeError(f"CUDA kernels need NVRTC: none of {', '.join(NAMES)} is installed")
    options = [f"--gpu-architecture={ARCHITECTURE}", "--std=c++17"]
    options += [f"-D{name}={value}" for name, value in constants]
    program = ctypes.c_void_p()
    _check(library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), None, 0, None, None))
    try:
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        if library.nvrtcCompileProgram(program, len(options), given):
            raise RuntimeError(f"NVRTC refused a kernel: {_text(library, program, 'ProgramLog')}")
        text = _text(library, program, "PTX")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
    return re.sub(r"(?m)^\.version .*$", f".version {PTX_VERSION}", text, count=1)


def _text(library: Any, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    _check(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(library, f"nvrtcGet{what}")(program, text))
    return text.value.decode()


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"NVRTC failed with error {code}")
