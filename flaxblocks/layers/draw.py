"""How initialisers draw random numbers."""

from collections.abc import Callable
from functools import cache, partial
from math import prod

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

Initializer = Callable[..., jax.Array]


def draw_scaled(
    draw: Initializer, key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, scale: float
) -> jax.Array:
    """Return `scale` times an array of random numbers.

    It is cut from a vector whose length is a power of two: JAX compiles a draw anew for each
    shape, which takes longer than the draw, and the layers of a network have hundreds of shapes
    but few such lengths.
    """
    length = 1 << (prod(shape) - 1).bit_length()
    return _cut(draw(key, (length,), dtype), jnp.asarray(scale, dtype), shape)


@cache  # the same function for the same bound, so that equal modules compile once
def symmetric_uniform(bound: float) -> Initializer:
    """Return an initialiser that draws uniformly from ``-bound`` to ``bound``."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        return draw_scaled(_unit_uniform, key, shape, dtype, bound)

    return init


def _unit_uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -1, 1)


@partial(jax.jit, static_argnums=2)
def _cut(flat: jax.Array, scale: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return scale * flat[: prod(shape)].reshape(shape)
