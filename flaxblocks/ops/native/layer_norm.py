"""Which layer normalizations the native kernel computes, and how it is called."""

import jax
import numpy as np

from flaxblocks.ops.native.targets import may_take, target


def fits(x: jax.Array, kernels: bool) -> bool:
    """Return whether the kernel is called on an array of shape ``(n, ..., c)``."""
    return kernels and may_take(x)


def compute(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Return each pixel, normalized over its channels, times `scale` plus `bias`."""
    call = jax.ffi.ffi_call(target("layer_norm"), jax.ShapeDtypeStruct(x.shape, x.dtype))
    return call(x, scale, bias, epsilon=np.float64(epsilon))
