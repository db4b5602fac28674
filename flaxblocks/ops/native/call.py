"""Which convolutions have a native kernel, and the call of it."""

import ctypes
from collections.abc import Callable
from functools import cache, partial

import jax
import numpy as np

from flaxblocks.ops.geometry import Geometry
from flaxblocks.ops.native.build import library, sources_digest
from flaxblocks.ops.shifts import transposed

KERNELS = ("narrow", "dense", "depthwise_kernel")
GROUPS = (1, 4, 8)  # channels of a group that the narrow kernel is compiled for
VECTOR = 64  # bytes of channels that the dense kernel needs

Form = Callable[[jax.Array, jax.Array], jax.Array]


@cache
def load() -> None:
    """Compile the kernels, if need be, and make them known to XLA.

    Raises:
        RuntimeError: see `library`.
    """
    loaded = ctypes.CDLL(str(library()))
    for kernel in KERNELS:
        function = jax.ffi.pycapsule(getattr(loaded, f"flaxblocks_{kernel}"))
        jax.ffi.register_ffi_target(_target(kernel), function, platform="cpu")


def form(first: jax.Array, second: jax.Array, role: str, geometry: Geometry) -> Form | None:
    """Return the function that computes the array that is left out, if there is a native one."""
    if role == "kernel":
        is_depthwise = first.shape[3] == second.shape[3] == geometry.groups
        return partial(_kernel_gradient, geometry=geometry) if is_depthwise else None
    kernel = second if role == "output" else first
    channels = kernel.shape[2], kernel.shape[3] // geometry.groups
    inputs, outputs = channels if role == "output" else reversed(channels)
    if inputs == outputs and inputs in GROUPS and geometry.groups > 1:
        name = "narrow"
    elif outputs * kernel.dtype.itemsize >= VECTOR and not geometry.is_pointwise:
        name = "dense"
    else:
        return None
    return partial(_convolve if role == "output" else _input_gradient, name, geometry)


def _convolve(kernel_name: str, geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    shape = (x.shape[0], *geometry.output, kernel.shape[3])
    return _call(kernel_name, x, kernel, shape, geometry)


def _input_gradient(
    kernel_name: str, geometry: Geometry, kernel: jax.Array, g: jax.Array
) -> jax.Array:
    shape = (g.shape[0], *geometry.image, kernel.shape[2] * geometry.groups)
    kernel = transposed(kernel, geometry.groups)
    return _call(kernel_name, g, kernel, shape, geometry, is_transposed=True)


def _kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    return _call("depthwise_kernel", x, g, (*geometry.window, 1, g.shape[3]), geometry)


def _call(
    kernel: str,
    first: jax.Array,
    second: jax.Array,
    shape: tuple[int, ...],
    geometry: Geometry,
    *,
    is_transposed: bool = False,
) -> jax.Array:
    result = jax.ShapeDtypeStruct(shape, first.dtype)
    return jax.ffi.ffi_call(_target(kernel), result)(
        first,
        second,
        strides=np.array(geometry.strides, np.int64),
        low=np.array([low for low, _ in geometry.padding], np.int64),
        dilation=np.array(geometry.dilation, np.int64),
        transposed=is_transposed,
    )


@cache
def _target(kernel: str) -> str:
    # With the version: a program in JAX's compilation cache may have been compiled for another.
    return f"flaxblocks_{kernel}_{sources_digest()[:8]}"
