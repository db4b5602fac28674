"""Which squeeze-and-excitation gates the native kernel computes, and how it is called."""

import jax
import numpy as np

from flaxblocks.ops.activations import Activation
from flaxblocks.ops.native.targets import ACTIVATIONS, may_take, target

Layer = tuple[jax.Array, jax.Array]
"""A kernel and a bias."""

Acts = tuple[Activation, Activation]


def fits(x: jax.Array, acts: Acts, kernels: bool) -> bool:
    """Return whether the kernel is called.

    Args:
        x: what is gated, of shape ``(n, h, w, c)``.
        acts: the activation, and the function that makes the factors.
        kernels: whether any may be called.
    """
    return kernels and may_take(x) and all(act in ACTIVATIONS for act in acts)


def compute(x: jax.Array, squeeze: Layer, excite: Layer, acts: Acts) -> jax.Array:
    """Return `x` times its gate, in the memory of `x` where nothing else reads it.

    Args:
        x: what is gated, of shape ``(n, h, w, c)``.
        squeeze: the 1x1 convolution of the channels' means.
        excite: the one that makes a factor for each channel.
        acts: what follows each.
    """
    call = jax.ffi.ffi_call(
        target("squeeze_excite"),
        jax.ShapeDtypeStruct(x.shape, x.dtype),
        input_output_aliases={0: 0},
    )
    numbers = np.array([ACTIVATIONS.index(act) for act in acts], np.int64)
    return call(x, *squeeze, *excite, activations=numbers)
