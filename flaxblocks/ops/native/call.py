"""Which convolutions have a native kernel, and the call of it."""

import ctypes
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from flaxblocks.ops.geometry import Geometry
from flaxblocks.ops.native.build import library, sources_digest
from flaxblocks.ops.shifts import transposed

KERNELS = ("narrow", "dense", "narrow_kernel", "dense_kernel", "inverted_residual")
GROUPS = (1, 4, 8)  # channels of a group that the narrow kernel is compiled for
VECTOR = 64  # bytes of outputs
# Inputs that make a block for the gradient; with an image's 3 XLA is faster: 36 ms to 54 for the
# 7x7 kernel of a stem.
FEWEST = 8

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
        jax.ffi.register_ffi_target(target(kernel), function, platform="cpu")


def may_call(module: Any) -> bool:
    """Return whether a program, as it is lowered, may call a kernel.

    XLA can neither split one over devices nor write it into a file.
    """
    one_device = getattr(module.axis_context, "num_devices", None) == 1
    return one_device and not module.lowering_parameters.for_export


def form(first: jax.Array, second: jax.Array, role: str, geometry: Geometry) -> Form | None:
    """Return the function that computes the array that is left out, if there is a native one."""
    if role == "kernel":
        inputs, outputs = (a.shape[3] // geometry.groups for a in (first, second))
        if geometry.groups > 1 and inputs == outputs in GROUPS:
            name = "narrow_kernel"
        elif inputs >= FEWEST and _fills_vectors(outputs, first, geometry):
            name = "dense_kernel"
        else:
            return None
        return partial(_kernel_gradient, name, geometry)
    kernel = second if role == "output" else first
    channels = kernel.shape[2], kernel.shape[3] // geometry.groups
    inputs, outputs = channels if role == "output" else reversed(channels)
    if geometry.groups > 1 and inputs == outputs in GROUPS:
        name = "narrow"
    elif _fills_vectors(outputs, kernel, geometry):
        name = "dense"
    else:
        return None
    return partial(_convolve if role == "output" else _input_gradient, name, geometry)


def _fills_vectors(outputs: int, like: jax.Array, geometry: Geometry) -> bool:
    """Return whether a dense kernel is faster for groups of so many outputs.

    In one group XLA's dense convolution is as fast where vectors are not in pairs: 0.5 ms, native
    0.9, for the gradient at 3x14x14 from 48 to 80 channels. For wide groups XLA has none.
    """
    size = outputs * like.dtype.itemsize
    is_enough = size % (2 * VECTOR) == 0 if geometry.groups == 1 else size >= VECTOR
    return is_enough and not geometry.is_pointwise


def _convolve(kernel_name: str, geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    shape = (x.shape[0], *geometry.output, kernel.shape[3])
    return _call(kernel_name, x, kernel, shape, geometry)


def _input_gradient(
    kernel_name: str, geometry: Geometry, kernel: jax.Array, g: jax.Array
) -> jax.Array:
    shape = (g.shape[0], *geometry.image, kernel.shape[2] * geometry.groups)
    kernel = transposed(kernel, geometry.groups)
    return _call(kernel_name, g, kernel, shape, geometry, is_transposed=True)


def _kernel_gradient(kernel_name: str, geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    shape = (*geometry.window, x.shape[3] // geometry.groups, g.shape[3])
    return _call(kernel_name, x, g, shape, geometry)


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
    return jax.ffi.ffi_call(target(kernel), result)(
        first,
        second,
        strides=np.array(geometry.strides, np.int64),
        low=np.array([low for low, _ in geometry.padding], np.int64),
        dilation=np.array(geometry.dilation, np.int64),
        transposed=is_transposed,
    )


@cache
def target(kernel: str) -> str:
    """Return what XLA knows a kernel by."""
    # With the version: a program in JAX's compilation cache may have been compiled for another.
    return f"flaxblocks_{kernel}_{sources_digest()[:8]}"
