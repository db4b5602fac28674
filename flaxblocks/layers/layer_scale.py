"""A scale for each channel at the end of a residual branch."""

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.layers.initializers import constant


def optional_layer_scale(
    value: float | None, features: int, param_dtype: jnp.dtype | type
) -> nnx.Param[jax.Array] | None:
    """Return the scale of a block's residual branch, all `value` at first, None for no scale.

    Source: Touvron et al. 2021 (CaiT), equation 4.
    """
    return None if value is None else nnx.Param(constant(value, (features,), param_dtype))


def scaled_by(scale: nnx.Param[jax.Array] | None, y: jax.Array) -> jax.Array:
    """Return the residual branch `y` of shape ``(n, h, w, c)``, scaled where there is a scale."""
    return y if scale is None else y * scale[...].astype(y.dtype)[None, None, None]
