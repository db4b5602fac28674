"""What every test and doctest of the repository runs under.

This file stands at the root because the doctests of the packages and of README.md need it too.
"""

# ruff: noqa: E402 (the order of these statements is what this file is for)

import gc
import os
import threading
from pathlib import Path
from typing import Any

# To look for cycles as often as Python does would take a sixth of the run.
gc.set_threshold(50_000, 10, 10)

# Before JAX starts: four devices on one CPU, for the tests of sharded batches.
os.environ["XLA_FLAGS"] = " ".join(
    (os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=4")
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"
# Before Keras is imported, by doctests too.
os.environ.setdefault("KERAS_BACKEND", "jax")

import jaxtyping

ROOT = Path(__file__).parent
# Where arrays are annotated. To check every call of every function would take a quarter of the run.
ANNOTATED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "flaxblocks").rglob("*.py")
    if "from jaxtyping import" in path.read_text()
]
# Before flaxblocks is imported: these annotations are checked at each call, in the test run only.
# An int serves for a float, as type checkers have it.
jaxtyping.install_import_hook(
    ANNOTATED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from _pytest.doctest import DoctestModule
from flax import nnx
from jax._src import compiler
from jax._src.interpreters import mlir

import flaxblocks as fb
from flaxblocks.models import registry
from parity.trace.jax_program import QUICK
from torch_ref.harness.vendors import declare_operators

# Before any test imports torchvision or timm.
declare_operators()

# Two cores: PyTorch's own pool would fight with XLA's.
torch.set_num_threads(1)


def pytest_collection_finish():
    """Leave the modules, which outlive every test, out of the collector's walks."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _doctests(request, doctest_namespace):
    """Give every doctest the names that the examples use, and compile it quickly."""
    doctest_namespace.update(fb=fb, nnx=nnx, jax=jax, jnp=jnp, np=np)
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("quick")


@pytest.fixture(autouse=True)
def _own_networks(monkeypatch):
    """Forget the networks that a test registers."""
    monkeypatch.setattr(registry, "_own", {})


@pytest.fixture(autouse=True, scope="module")
def _compiled_programs(request):
    """Drop what a file compiled: a process may only hold so many mapped pieces of code.

    Doctests keep it. They run operation by operation, and most have the same ones.
    """
    yield
    if not isinstance(request.node, DoctestModule):
        jax.clear_caches()


@pytest.fixture(autouse=True)
def _one_context(monkeypatch):
    """Lower all programs of a test in one MLIR context for each thread.

    JAX makes one for each, and loads its dialects: half of what it takes to lower a small program.
    """
    own, make = threading.local(), mlir.make_ir_context

    def make_once():
        if not hasattr(own, "context"):
            own.context = make()
        return own.context

    monkeypatch.setattr(mlir, "make_ir_context", make_once)


@pytest.fixture
def quick(request, monkeypatch):
    """Compile without optimizing machine code, except in slow tests, which compute for long.

    Compiling is what a test costs. For tests of meaning; where float32's rounding is judged, or
    which operations a program has, it is compiled as users compile it.
    """
    if request.node.get_closest_marker("slow"):
        return
    make = compiler.get_compile_options

    def make_quick(*args, env_options_overrides=None, **kwargs):
        options: dict[str, Any] = {**QUICK, **(env_options_overrides or {})}
        return make(*args, env_options_overrides=options, **kwargs)

    # JAX has no public setting for what is compiled in a context.
    monkeypatch.setattr(compiler, "get_compile_options", make_quick)


@pytest.fixture
def x64(quick):
    """Let JAX compute in float64 during the test, which is tested for what it means."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def xla_forms():
    """Convolve without native kernels where the test does not ask for them."""
    with fb.ops.convolution("xla"):
        yield


@pytest.fixture
def native():
    """Convolve with a native kernel wherever there is one."""
    with fb.ops.convolution("native"):
        yield


@pytest.fixture
def as_installed():
    """Run without the annotation checks, as a user does: the library's own errors must do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
