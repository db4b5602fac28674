"""Which native kernels are called without being asked for, by the processor's level."""

import re
from pathlib import Path

import jax
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks import ops
from flaxblocks.ops.native import choice
from flaxblocks.ops.native.build import Library
from flaxblocks.ops.native.compiling import LEVELS
from tests.helpers.folded import gate

CALLED = re.compile(r"@flaxblocks_(\w+?)_[0-9a-f]{8}\b")
BY_NAME = {level.name: level for levels in LEVELS.values() for level in levels}


def kernels(module: nnx.Module, channels: int) -> list[str]:
    """Return the kernels that the module's forward and backward pass calls."""
    graphdef, params = nnx.split(module, nnx.Param)

    def gradients(params: nnx.State, x: jax.Array) -> tuple:
        return jax.value_and_grad(lambda *a: nnx.merge(graphdef, a[0])(a[1]).sum(), (0, 1))(
            params, x
        )

    x = jax.ShapeDtypeStruct((1, 7, 7, channels), "float32")
    return sorted(CALLED.findall(jax.jit(gradients).lower(params, x).as_text()))


def called(module: nnx.Module, channels: int) -> list[str]:
    """Return those of the forward pass."""
    x = jax.ShapeDtypeStruct((1, 7, 7, channels), "float32")
    return CALLED.findall(jax.jit(module).lower(x).as_text())


def conv(channels: int, groups: int = 1) -> fb.Conv:
    return fb.Conv(channels, channels, 3, groups=groups, use_bias=False, rngs=nnx.Rngs(0))


def mbconv() -> nnx.Module:
    return fb.for_inference(fb.MBConv(16, 16, 2, se=gate(4), rngs=nnx.Rngs(0)))


DEPTHWISE = ["narrow", "narrow", "narrow_kernel"]
DENSE = ["dense", "dense", "dense_kernel"]
CASES = {
    "x86-64-v4": (DEPTHWISE, DENSE, ["inverted_residual"]),
    "x86-64-v3": (DEPTHWISE, DENSE, ["inverted_residual"]),
    "x86-64-v2": ([], [], []),
    "armv8": ([], [], []),
}


@pytest.mark.parametrize("level", CASES)
def test_the_default_calls_what_was_measured_to_be_faster(level: str, monkeypatch):
    library = Library(BY_NAME[level], Path("kernels.so"))
    monkeypatch.setattr(choice, "load_found", lambda: library)
    depthwise, dense, block = CASES[level]
    jax.clear_caches()  # a lowering is remembered, and the level does not change otherwise
    assert kernels(conv(16, 16), 16) == depthwise
    assert kernels(conv(64), 64) == dense
    assert called(mbconv(), 16) == block
    jax.clear_caches()


def test_without_kernels_the_default_is_xlas_forms(monkeypatch):
    monkeypatch.setattr(choice, "load_found", lambda: None)
    jax.clear_caches()
    assert kernels(conv(16, 16), 16) == called(mbconv(), 16) == []
    with ops.convolution("native"):
        assert kernels(conv(16, 16), 16) == DEPTHWISE
    jax.clear_caches()


def test_the_forms_of_xla_and_of_jax_can_be_asked_for():
    for name in ("xla", "lax"):
        with ops.convolution(name):
            assert kernels(conv(16, 16), 16) == called(mbconv(), 16) == []
