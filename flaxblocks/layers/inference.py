"""Convolutions without a normalisation as one operation, where it has a native kernel."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.layers.conv import Conv
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.recognize import NHWC, geometry_of
from flaxblocks.ops.fused.unit import conv_act
from flaxblocks.ops.switch import is_native, is_plain


def in_one(
    conv: nnx.Conv, x: jax.Array, act: Activation | None, residual: jax.Array | None = None
) -> jax.Array | None:
    """Return ``act(conv(x) + residual)`` where one kernel computes it.

    Args:
        conv: the layer.
        x: input of shape ``(n, h, w, c)``.
        act: activation; None for none.
        residual: of the result's shape; None for none.

    Returns:
        The result, of shape ``(n, p, q, d)``; None where there is no such kernel.
    """
    if not may_fuse() or not is_as_built(conv, x) or x.shape[3:] != (conv.in_features,):
        return None
    geometry = geometry_in(conv, x)
    return None if geometry is None else conv_act(x, *weights(conv), residual, geometry, act)


def may_fuse() -> bool:
    """Return whether native kernels are asked for."""
    return is_native() and not is_plain()


def is_as_built(conv: nnx.Conv, x: jax.Array) -> bool:
    """Return whether the layer is ours and computes in the input's dtype."""
    return type(conv) is Conv and conv.dtype in (None, x.dtype) and conv.kernel.dtype == x.dtype


def geometry_in(conv: nnx.Conv, x: jax.Array) -> Geometry | None:
    """Return the geometry of the layer on images of the size of `x`; None where XLA is asked."""
    layer: Any = conv  # NNX's annotations allow forms that ours never has
    return geometry_of(
        jax.ShapeDtypeStruct(
            (*x.shape[:3], layer.in_features), x.dtype, sharding=jax.typeof(x).sharding
        ),
        layer.kernel[...],
        layer.strides,
        layer.padding,
        layer.kernel_dilation,
        NHWC,
        layer.feature_group_count,
    )


def weights(conv: nnx.Conv) -> tuple[jax.Array, jax.Array]:
    """Return the layer's kernel and its bias, zeros where it has none."""
    kernel = conv.kernel[...]
    if conv.bias is None:
        return kernel, jnp.zeros(kernel.shape[3], kernel.dtype)
    return kernel, conv.bias[...]
