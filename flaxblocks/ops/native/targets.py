"""The native kernels as XLA knows them, and what all calls have in common."""

import ctypes
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.ops import activations
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.native.build import library, sources_digest

KERNELS = ("narrow", "dense", "pointwise", "narrow_kernel", "dense_kernel", "inverted_residual")
VECTOR = 64  # bytes of outputs

# In the order of `Activation` in activation.h.
ACTIVATIONS: tuple[activations.Activation | None, ...] = (
    None,
    activations.relu,
    activations.relu6,
    activations.sigmoid,
    activations.silu,
    activations.hard_sigmoid,
    activations.hard_swish,
)


@cache
def load() -> None:
    """Compile the kernels, if need be, and make them known to XLA.

    Raises:
        RuntimeError: see `library`.
    """
    loaded = ctypes.CDLL(str(library()))
    for kernel in KERNELS:
        function = jax.ffi.pycapsule(getattr(loaded, f"flaxblocks_{kernel}"))
        jax.ffi.register_ffi_target(_name(kernel), function, platform="cpu")


def target(kernel: str) -> str:
    """Return what XLA knows a kernel by, once it does."""
    load()
    return _name(kernel)


def may_take(x: jax.Array) -> bool:
    """Return whether a kernel that fuses takes this input: images in a dtype that it has."""
    n = x.shape[0]  # it may be known only when the exported program runs
    return isinstance(n, int) and n > 0 and x.dtype in (jnp.float32, jnp.float64)


def attributes(geometry: Geometry) -> dict[str, np.ndarray]:
    """Return what a kernel is told of the geometry."""
    return {
        "strides": np.array(geometry.strides, np.int64),
        "low": np.array([low for low, _ in geometry.padding], np.int64),
        "dilation": np.array(geometry.dilation, np.int64),
    }


@cache
def _name(kernel: str) -> str:
    # With the version: a program in JAX's compilation cache may have been compiled for another.
    return f"flaxblocks_{kernel}_{sources_digest()[:8]}"
