"""Time single convolutions beside the libraries that compute them elsewhere: oneDNN and XLA's own.

    python -m benchmarks.libraries --json benchmarks/libraries-cpu-2026-11-26.json

Each is timed by the processor time it takes on one core, in float32: the least of many calls, which
a busy machine moves little. oneDNN is called through PyTorch, with weights as they are and, for the
output, with weights in oneDNN's own layout too. With ``ONEDNN_MAX_CPU_ISA=AVX2`` it is that of
smaller processors, and with ``FLAXBLOCKS_KERNELS=x86-64-v3`` so are the native kernels. XLA's
libraries cannot be told and are left out then, nor can MKL, which PyTorch calls for 1x1.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROLES = ("output", "input", "kernel")
CALLS = 60


class Case(NamedTuple):
    """A convolution of one image that keeps its pixels."""

    pixels: int  # height and width
    inputs: int
    outputs: int
    window: int = 1

    def __str__(self) -> str:
        """Return the case as a short label."""
        window, size = f"{self.window}x{self.window}", f"{self.pixels}x{self.pixels}"
        return f"{window}, {size}, {self.inputs} to {self.outputs}"


CASES = (
    Case(56, 24, 144), Case(56, 64, 256), Case(56, 256, 64), Case(28, 40, 240), Case(28, 240, 40),
    Case(28, 128, 512), Case(28, 512, 128), Case(14, 112, 672), Case(14, 672, 112),
    Case(14, 256, 1024), Case(14, 1024, 256), Case(7, 192, 1152), Case(7, 1152, 192),
    Case(7, 512, 2048), Case(7, 2048, 512),
    Case(56, 64, 64, 3), Case(28, 128, 128, 3), Case(14, 256, 256, 3), Case(7, 512, 512, 3),
)  # fmt: skip
"""1x1 and 3x3 convolutions of EfficientNet-B0 and ResNet-50."""


def main() -> None:
    """Time all, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="PATH")
    path = parser.parse_args().json
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before either library counts cores
    rows = []
    for case in CASES:
        for role in ROLES:
            runs = {**ours(case, role), **onednn(case, role)}
            row = {"case": str(case), "role": role, **least(runs)}
            print(row, flush=True)
            rows.append(row)
    about = {"what": "microseconds of processor time on one core", "environment": environment()}
    path.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n", encoding="utf-8")


def environment() -> dict[str, str]:
    """Return the versions, and what was asked of the libraries."""
    names = ("FLAXBLOCKS_KERNELS", "ONEDNN_MAX_CPU_ISA")
    asked = {name: os.environ[name] for name in names if name in os.environ}
    return {name: version(name) for name in ("jaxlib", "torch")} | asked


def least(runs: dict[str, Callable[[], Any]]) -> dict[str, int]:
    """Return the microseconds of the fastest call of each; they take turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(CALLS):
        for name, call in runs.items():
            call()  # brings its arrays back into the cache
            started = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - started)
    return {name: round(1e6 * seconds) for name, seconds in best.items()}


def ours(case: Case, role: str) -> dict[str, Callable[[], Any]]:
    """Return the convolution as a native kernel, and in the form that XLA's libraries compute."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    import flaxblocks as fb

    conv = fb.ConvNormAct(
        case.inputs, case.outputs, case.window, norm=None, act=None, rngs=nnx.Rngs(0)
    )
    fast = fb.for_inference(conv)
    x = jnp.ones((1, case.pixels, case.pixels, case.inputs))
    kernel = jnp.full((case.window, case.window, case.inputs, case.outputs), 0.1)
    gradient = jnp.ones((1, case.pixels, case.pixels, case.outputs))
    side = (case.window // 2, case.window // 2)

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return fb.ops.conv_general_dilated(
            x, kernel, (1, 1), (side, side), dimension_numbers=layout
        )

    functions = {
        "output": lambda x, kernel, gradient: fast(x),
        "input": lambda x, kernel, gradient: jax.linear_transpose(lambda x: convolve(x, kernel), x)(
            gradient
        ),
        "kernel": lambda x, kernel, gradient: jax.linear_transpose(
            lambda kernel: convolve(x, kernel), kernel
        )(gradient),
    }
    runs = {}
    for name in ("native",) if "FLAXBLOCKS_KERNELS" in os.environ else ("native", "xla"):
        with fb.ops.convolution(name):
            program = jax.jit(functions[role]).lower(x, kernel, gradient).compile()
        runs[name] = lambda program=program: jax.block_until_ready(program(x, kernel, gradient))
    return runs


def onednn(case: Case, role: str) -> dict[str, Callable[[], Any]]:
    """Return PyTorch's convolution, and oneDNN's with weights in its own layout."""
    import torch

    def ones(*shape: int) -> torch.Tensor:
        return torch.full(shape, 0.1).to(memory_format=torch.channels_last)

    x = ones(1, case.inputs, case.pixels, case.pixels)
    kernel = ones(case.outputs, case.inputs, case.window, case.window)
    gradient = ones(1, case.outputs, case.pixels, case.pixels)
    bias, side = torch.zeros(case.outputs), [case.window // 2] * 2
    if role != "output":
        mask = [role == "input", role == "kernel", False]
        common = ([1, 1], side, [1, 1], False, [0, 0], 1, mask)
        backward = torch.ops.aten.convolution_backward
        return {"torch": lambda: backward(gradient, x, kernel, None, *common)}
    library: Any = torch._C  # which says nothing of what is in it
    packed = library._nn.mkldnn_reorder_conv2d_weight(
        kernel.to_mkldnn(), side, (1, 1), (1, 1), 1, tuple(x.shape)
    )
    call = torch.ops.mkldnn._convolution_pointwise
    return {
        "torch": torch.inference_mode()(
            lambda: torch.nn.functional.conv2d(x, kernel, bias, padding=side)
        ),
        "oneDNN, packed": torch.inference_mode()(
            lambda: call(x, packed, bias, side, [1, 1], [1, 1], 1, "none", [], "")
        ),
    }


if __name__ == "__main__":
    main()
