"""Which normalizations by the batch's statistics have native kernels, and how they are called."""

import jax
import numpy as np

from flaxblocks.ops import activations
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.native.targets import ACTIVATIONS, VECTOR, may_take, target


def fits(x: jax.Array, act: Activation | None, kernels: bool) -> bool:
    """Return whether the kernels are called.

    Args:
        x: what is normalized, of shape ``(n, ..., c)``.
        act: what follows.
        kernels: whether any may be called.
    """
    known = act in ACTIVATIONS and act is not activations.gelu
    if not known or not may_take(x) or x.shape[-1] * x.dtype.itemsize < VECTOR:
        return False
    return kernels and all(type(size) is int and size for size in x.shape)


def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, act: Activation | None
) -> tuple[jax.Array, ...]:
    """Return what is normalized and activated, mean and biased variance."""
    call = jax.ffi.ffi_call(target("batch_norm"), list(map(_type, (x, scale, scale))))
    return tuple(call(x, scale, bias, **_attributes(epsilon, act)))


def gradients(
    g: jax.Array,
    x: jax.Array,
    per_channel: tuple[jax.Array, ...],
    epsilon: float,
    act: Activation | None,
) -> tuple[jax.Array, ...]:
    """Return the gradients with respect to `x`, scale and bias, from that of the result.

    Args:
        g: that of the result.
        x: what was normalized.
        per_channel: mean, biased variance, scale and bias.
        epsilon: number added to the variance.
        act: what followed.
    """
    *_, scale, bias = per_channel
    call = jax.ffi.ffi_call(target("batch_norm_gradient"), list(map(_type, (x, scale, bias))))
    return tuple(call(g, x, *per_channel, **_attributes(epsilon, act)))


def _type(like: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(like.shape, like.dtype)


def _attributes(epsilon: float, act: Activation | None) -> dict[str, np.generic]:
    return {"epsilon": np.float64(epsilon), "activation": np.int64(ACTIVATIONS.index(act))}
