"""Which pools the native kernels compute, and how they are called."""

import jax
import numpy as np

from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.native.targets import VECTOR, may_take, target


def fits(x: jax.Array, kernels: bool) -> bool:
    """Return whether the kernels are called on images.

    Args:
        x: images of shape ``(n, h, w, c)``.
        kernels: whether any may be called.
    """
    return kernels and may_take(x) and x.shape[3] * x.dtype.itemsize >= VECTOR


def mean(x: jax.Array) -> jax.Array:
    """Return the mean of each channel over the image, of shape ``(n, c)``."""
    call = jax.ffi.ffi_call(target("mean"), jax.ShapeDtypeStruct((x.shape[0], x.shape[3]), x.dtype))
    return call(x)


def max_pool(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the largest pixel of each window, of shape ``(n, p, q, c)``."""
    shape = (x.shape[0], *geometry.output, x.shape[3])
    call = jax.ffi.ffi_call(target("max_pool"), jax.ShapeDtypeStruct(shape, x.dtype))
    return call(x, **_windows(geometry))


def max_pool_gradient(g: jax.Array, x: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the gradient with respect to `x`, from that of the result."""
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.ffi.ffi_call(target("max_pool_gradient"), like)(g, x, **_windows(geometry))


def _windows(geometry: Geometry) -> dict[str, np.ndarray]:
    return {
        "window": np.array(geometry.window, np.int64),
        "strides": np.array(geometry.strides, np.int64),
        "low": np.array([low for low, _ in geometry.padding], np.int64),
    }
