# pyright: reportUnknownMemberType=false
"""The native kernels as XLA custom calls: loading, names, and what all calls share."""

import ctypes
import warnings
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.ops import activations
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.native.build import Library, find, library
from flaxblocks.ops.native.compiling import KERNELS, sources_digest

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
    activations.gelu,
)


@cache
def load_found() -> Library | None:
    """Register the kernels that are there with XLA, None where there are none."""
    found = find()
    if found is not None:
        try:
            _register(found)
        except RuntimeError as error:
            warnings.warn(f"convolutions do without native kernels: {error}", stacklevel=2)
            return None
    return found


@cache
def load() -> Library:
    """Register the kernels with XLA, compiled now where there are none.

    Raises:
        RuntimeError: see `library`; if they cannot be loaded.
    """
    found = load_found()
    if found is None:
        found = library()
        _register(found)
    return found


def _register(found: Library) -> None:
    try:
        loaded = ctypes.CDLL(str(found.path))
        for kernel in KERNELS:
            function = jax.ffi.pycapsule(getattr(loaded, f"flaxblocks_{kernel}"))
            jax.ffi.register_ffi_target(_name(kernel), function, platform="cpu")
    except (OSError, AttributeError, RuntimeError) as error:
        raise RuntimeError(f"those in {found.path} cannot be loaded: {error}") from error


def target(kernel: str) -> str:
    """Return the name of a kernel's custom call, loaded and registered."""
    load()
    return _name(kernel)


def may_take(x: jax.Array) -> bool:
    """Return whether a fused kernel takes these images: a known number, in a dtype it has."""
    n: Any = x.shape[0]  # symbolic in some exported programs
    return isinstance(n, int) and n > 0 and x.dtype in (jnp.float32, jnp.float64)


def attributes(geometry: Geometry) -> dict[str, np.ndarray]:
    """Return a kernel's attributes for a geometry."""
    return {
        "strides": np.array(geometry.strides, np.int64),
        "low": np.array([low for low, _ in geometry.padding], np.int64),
        "dilation": np.array(geometry.dilation, np.int64),
    }


@cache
def _name(kernel: str) -> str:
    # With the version: a program in JAX's compilation cache may have been compiled for another.
    return f"flaxblocks_{kernel}_{sources_digest()[:8]}"
