"""CUDA kernels run on the CPU: the same source compiled as C++, one thread after the other."""

import ctypes
import os
import shlex
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.ops.cuda import depthwise

HOST = """
struct Index { unsigned x; };
static Index blockIdx, threadIdx, blockDim;
#define KERNEL extern "C" void
#define INLINE inline
#define UNROLL
#include "SOURCE"
extern "C" void run(int blocks, int threads, const Pair* a, const void* b, const Sizes* n,
                    void* y) {
  blockDim.x = threads;
  for (int i = 0; i < blocks * threads; ++i) {
    blockIdx.x = i / threads, threadIdx.x = i % threads;
    depthwise(a, static_cast<SECOND*>(b), n, static_cast<RESULT*>(y));
  }
}
"""


class OnCpu:
    """Stands in for `ptx` and `launch`: what would be launched runs here, on concrete arrays.

    Args:
        folder: where the compiled sources go.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def ptx(self, source: str, constants: tuple[tuple[str, int], ...]) -> str:
        """Return the path of a shared library in place of a program."""
        gradient = dict(constants)["GRADIENT"]
        path = self.folder / f"{abs(hash(constants))}.so"
        host = HOST.replace("SOURCE", depthwise.__file__.replace(".py", ".cu"))
        host = host.replace("SECOND", "const Pair" if gradient else "const Two")
        host = host.replace("RESULT", "Two" if gradient else "Pair")
        compiler = shlex.split(os.environ.get("CXX", "c++"))
        defined = [f"-D{name}={value}" for name, value in constants]
        command = [*compiler, "-x", "c++", "-std=c++17", "-shared", "-fPIC", *defined]
        subprocess.run([*command, "-o", str(path), "-"], input=host, text=True, check=True)
        return str(path)

    def launch(
        self,
        name: str,
        ptx: str,
        operands: tuple[jax.Array, ...],
        result: jax.ShapeDtypeStruct,
        *,
        blocks: int,
        threads: int,
    ) -> jax.Array:
        """Return what the kernel writes; what it leaves unwritten is not a number."""
        given = [np.ascontiguousarray(operand) for operand in operands]
        written = np.full(result.shape, np.nan, result.dtype)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*given, written)]
        ctypes.CDLL(ptx).run(blocks, threads, *pointers)
        return jnp.asarray(written)
