"""Normalizations that scale without shifting."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.initializers import constant
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped


def mean_square(x: jax.Array) -> jax.Array:
    """Return the mean over the last axis of the squares."""
    return jnp.square(x).mean(-1, keepdims=True)


def variance(x: jax.Array) -> jax.Array:
    """Return the unbiased variance over the last axis."""
    return x.var(-1, ddof=1, keepdims=True)


class ScaleNorm(Scoped):
    """Divide each pixel by the magnitude of its channels: ``x / sqrt(power(x) + epsilon) * scale``.

    >>> norm = ScaleNorm(8, power=mean_square, rngs=nnx.Rngs(0))
    >>> norm(jnp.ones((1, 4, 4, 8))).shape
    (1, 4, 4, 8)

    Args:
        num_features: channels of the input.
        power: what measures them, over the last axis, which it keeps.
        epsilon: number added to it.
        dtype: dtype of the result; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Zhang and Sennrich 2019, equation 4 (`mean_square`).
    """

    def __init__(
        self,
        num_features: int,
        *,
        power: Callable[[jax.Array], jax.Array],
        epsilon: float = 1e-6,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        features = checks.positive_int("num_features", num_features)
        self.scale = nnx.Param(constant(1, (features,), param_dtype))
        self.power = checks.function("power", power)
        self.epsilon = checks.at_least_0("epsilon", epsilon)
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
        """Normalize.

        Args:
            x: input of shape ``(n, h, w, num_features)``, or of any rank with the channels last.

        Returns:
            An array of the input's shape.
        """
        dtype = self.dtype or jnp.result_type(x, self.scale[...])
        x, scale = x.astype(dtype), self.scale[...].astype(dtype)
        return (
            x / jnp.sqrt(self.power(x) + self.epsilon) * lax.expand_dims(scale, range(x.ndim - 1))
        )


rms_norm = partial(ScaleNorm, power=mean_square)
"""The root mean square as the measure."""

simple_norm = partial(ScaleNorm, power=variance)
"""The standard deviation as the measure, though no mean is subtracted (timm's SimpleNorm)."""
