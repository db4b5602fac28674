# pyright: reportUnknownMemberType=false
"""Activation functions with PyTorch's values, and PyTorch's gradients at the kinks.

Any callable from an array to an array of the same shape serves as an activation; these are the
ones the published networks use. JAX's own `relu6`, `hard_sigmoid` and `hard_swish` return half of
the slope at the kinks, and its `gelu` is the tanh approximation by default.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from flaxblocks.ops.recompute import recompute

__all__ = [
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
]

Activation = Callable[[jax.Array], jax.Array]


def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``max(x, 0)``, with gradient 0 at 0."""
    return _relu(x)


@jax.custom_jvp
def _relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


@_relu.defjvp
def _relu_derivative(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # By the sign of the result, which the next layer keeps anyhow; `jax.nn.relu` takes that of `x`.
    (x,), (dx,) = primals, tangents
    y = _relu(x)
    return y, jnp.where(recompute(y) > 0, dx, 0)


def relu6(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``min(max(x, 0), 6)``, with gradient 0 at 0 and at 6 (MobileNetV1, section 3)."""
    return jnp.where(x >= 6, jnp.asarray(6, x.dtype), jax.nn.relu(x))


def leaky_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return `x` where it is positive, else a hundredth of it, with gradient 0.01 at 0."""
    return jnp.where(x > 0, x, 0.01 * x)


def silu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``x * sigmoid(x)``, also known as swish."""
    return jax.nn.silu(x)


def sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``1 / (1 + exp(-x))``."""
    return jax.nn.sigmoid(x)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``x * Phi(x)`` with the exact normal distribution function, as PyTorch's default.

    Half precisions are computed in float32.
    """
    return _gelu(x)


@jax.custom_jvp
def _gelu(x: jax.Array) -> jax.Array:
    return _normal_gelu(x)


@_gelu.defjvp
def _gelu_derivative(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # From the input, which a product before it has written: an accelerator stores nothing else.
    (x,), (dx,) = primals, tangents
    _, dy = jax.jvp(_normal_gelu, (recompute(x),), (dx,))
    return _gelu(x), dy


def _normal_gelu(x: jax.Array) -> jax.Array:
    if x.dtype.itemsize >= 4:
        return jax.nn.gelu(x, approximate=False)
    # What `erf` loses in the lower tail is nothing beside a half's rounding of results near 0;
    # `erfc` takes three times as long on a GPU.
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1 + lax.erf(wide * math.sqrt(0.5)))).astype(x.dtype)


def gelu_tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return `gelu` with the tanh approximation of the distribution function."""
    return jax.nn.gelu(x, approximate=True)


def hard_sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``relu6(x + 3) / 6`` (MobileNetV3, section 5.2).

    The bounds are tested on `x` itself: just below 3, ``x + 3`` rounds to 6 and would lose the
    gradient.
    """
    zero, one = jnp.asarray(0, x.dtype), jnp.asarray(1, x.dtype)
    return jnp.where(x <= -3, zero, jnp.where(x >= 3, one, (x + 3) / 6))


def hard_swish(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``x * relu6(x + 3) / 6`` (MobileNetV3, section 5.2).

    PyTorch passes the gradient through unchanged from ``x = 3`` on.
    """
    return jnp.where(x >= 3, x, x * hard_sigmoid(x))
