"""Which inverted residuals the native kernel computes, and how it is called."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.ops.activations import Activation
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.native.targets import ACTIVATIONS, VECTOR, attributes, may_take, target

Layer = tuple[jax.Array, jax.Array] | None
"""A kernel and a bias."""


def fits(
    x: jax.Array,
    depthwise: jax.Array,
    project: jax.Array,
    geometry: Geometry,
    acts: Sequence[Activation | None],
    kernels: bool,
) -> bool:
    """Return whether the kernel is called: one filter for each channel, channels to fill vectors.

    Args:
        x: the block's input.
        depthwise: the depthwise kernel.
        project: the kernel of the projection.
        geometry: of the depthwise convolution.
        acts: every activation.
        kernels: whether any may be called.
    """
    channels = min(depthwise.shape[3], project.shape[3])
    return (
        depthwise.shape[2:] == (1, geometry.groups)
        and may_take(x)
        and channels * x.dtype.itemsize >= VECTOR
        and min(side for sides in geometry.padding for side in sides) >= 0
        and all(act in ACTIVATIONS for act in acts)
        and kernels
    )


def compute(
    x: jax.Array,
    layers: Sequence[Layer],
    geometry: Geometry,
    acts: Sequence[Activation | None],
    *,
    residual: bool,
) -> jax.Array:
    """Return what the kernel computes.

    Args:
        x: the block's input, of shape ``(n, h, w, c)``.
        layers: the expansion, the depthwise convolution, the gate's two, and the projection; all
            but the second and the last may be absent.
        geometry: of the depthwise convolution.
        acts: the activation of each layer, the last one's after the residual.
        residual: whether `x` is added.
    """
    nothing = jnp.zeros((1, 1, 0, 0), x.dtype), jnp.zeros(0, x.dtype)
    arrays = [array for layer in layers for array in layer or nothing]
    shape = (x.shape[0], *geometry.output, arrays[-1].shape[0])
    call = jax.ffi.ffi_call(target("inverted_residual"), jax.ShapeDtypeStruct(shape, x.dtype))
    return call(
        x,
        *arrays,
        **attributes(geometry),
        activations=np.array([ACTIVATIONS.index(act) for act in acts], np.int64),
        residual=residual,
    )
