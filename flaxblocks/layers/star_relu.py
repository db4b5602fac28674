"""An activation with parameters of its own."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.initializers import constant
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import relu


def squared_relu(x: jax.Array) -> jax.Array:
    """Return ``max(x, 0) ** 2``.

    Source: So et al. 2021 (Primer), section 4.1.
    """
    return jnp.square(relu(x))


class StarReLU(Scoped):
    """``scale * max(x, 0) ** 2 + bias``, with one scale and one bias for all channels.

    >>> act = StarReLU(rngs=nnx.Rngs(0))
    >>> act(jnp.asarray([-1.0, 3.0]))
    Array([0., 9.], dtype=float32)

    Args:
        dtype: dtype of the result; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; nothing is drawn.

    Raises:
        TypeError: if `rngs` is not `nnx.Rngs`.

    Source: Yu et al. 2024 (MetaFormer baselines), section 2.5.
    """

    def __init__(
        self,
        *,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        self.scale = nnx.Param(constant(1, (1,), param_dtype))
        self.bias = nnx.Param(constant(0, (1,), param_dtype))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Activate.

        Args:
            x: an array of any shape.

        Returns:
            An array of the same shape.
        """
        dtype = self.dtype or jnp.result_type(x, self.scale[...])
        scale, bias = (self.scale[0].astype(dtype), self.bias[0].astype(dtype))
        return scale * squared_relu(x.astype(dtype)) + bias
