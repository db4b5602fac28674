# pyright: reportUnknownMemberType=false
"""How layers draw their initial weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from typing import cast

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

Initializer = Callable[..., jax.Array]
"""``init(key, shape, dtype)``, as in `jax.nn.initializers`."""

BLOCK = 1 << 14  # numbers that one key gives
AT_ONCE = 4  # blocks: one takes twice the time, by calls; a small layer draws more than it needs


@dataclass(frozen=True)
class Normal:
    """Draws from a normal distribution with mean 0.

    Args:
        deviation: standard deviation.
    """

    deviation: float

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        """Return an array of the shape."""
        return _scaled(_bell, key, shape, dtype, self.deviation)


@dataclass(frozen=True)
class Uniform:
    """Draws uniformly from ``-bound`` to ``bound``.

    Args:
        bound: the largest absolute value.
    """

    bound: float

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        """Return an array of the shape."""
        return _scaled(lambda u: u, key, shape, dtype, self.bound)


@dataclass(frozen=True)
class FanOutUniform:
    """Draws uniformly from ``+-gain / sqrt(fan_out)``.

    Args:
        gain: factor of the bound.
    """

    gain: float

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        """Return an array of the shape."""
        return Uniform(self.gain / sqrt(_fan_out(shape)))(key, shape, dtype)


def kaiming_normal(
    key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike, *, groups: int = 1
) -> jax.Array:
    """Draw from a normal distribution of variance ``2 / fan_out``.

    The fan-out is ``kernel_h * kernel_w * out_features / groups``.

    Source: He et al. 2015, section 2.2.
    """
    return Normal(sqrt(2 * groups / _fan_out(shape)))(key, shape, dtype)


def kaiming_normal_in(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Draw from a normal distribution of variance ``2 / fan_in``."""
    return Normal(sqrt(2 / prod(shape[:-1])))(key, shape, dtype)


def lecun_normal(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Draw from a normal distribution of variance ``1 / fan_in``."""
    return Normal(sqrt(1 / prod(shape[:-1])))(key, shape, dtype)


def kaiming_uniform_in(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Draw from a uniform distribution of variance ``2 / fan_in``."""
    return Uniform(sqrt(6 / prod(shape[:-1])))(key, shape, dtype)


def uniform_in(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Draw from a uniform distribution of variance ``1 / fan_in``."""
    return Uniform(sqrt(3 / prod(shape[:-1])))(key, shape, dtype)


def xavier_uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Draw from a uniform distribution of variance ``2 / (fan_in + fan_out)``.

    Source: Glorot and Bengio 2010, equation 16.
    """
    *window, in_features, out_features = shape
    fans = prod(window) * (in_features + out_features)
    return Uniform(sqrt(6 / fans))(key, shape, dtype)


def constant(value: float, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Return an array filled with `value`, without the program that `jnp.full` compiles."""
    return jax.device_put(np.full(shape, value, jax.dtypes.canonicalize_dtype(dtype)))


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Return zeros."""
    return constant(0, shape, dtype)


def ones(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Return ones."""
    return constant(1, shape, dtype)


@dataclass(frozen=True)
class Initialization:
    """How a network draws its initial weights; where a rule is None the layer's default holds.

    Args:
        conv: draws the kernels of the convolutions, of shape ``(h, w, in, out)``.
        conv_bias: draws their biases.
        linear: draws the kernels of the linear layers, of shape ``(in, out)``.
        linear_bias: draws their biases.
        residual_scale: draws the scale of the last normalization of each residual branch; zeros
            make every such block the identity at first (Goyal et al. 2017, section 5.1).
        fan_out_of_group: whether `conv` is called with ``groups=`` and counts the fan-out of one
            group of a convolution.
    """

    conv: Initializer | None = None
    conv_bias: Initializer | None = None
    linear: Initializer | None = None
    linear_bias: Initializer | None = None
    residual_scale: Initializer | None = None
    fan_out_of_group: bool = False

    def conv_kernel(self, groups: int) -> Initializer | None:
        """Return what draws the kernel of a convolution with this number of groups."""
        if self.conv is None or not self.fan_out_of_group:
            return self.conv
        return partial(self.conv, groups=groups)


def _fan_out(shape: tuple[int, ...]) -> int:
    *window, _, out_features = shape
    return prod(window) * out_features


@jax.jit
def _bell(uniform: jax.Array) -> jax.Array:
    """Return what is standard normal where the argument is uniform from -1 to 1."""
    return jnp.asarray(sqrt(2), uniform.dtype) * jax.lax.erf_inv(uniform)


def _scaled(
    bend: Callable[[jax.Array], jax.Array],
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    scale: float,
) -> jax.Array:
    """Return ``scale * bend(u)``, with numbers `u` that are uniform from -1 to 1.

    JAX compiles a program for each shape that it draws or even multiplies, which takes far longer
    than the draw. So the numbers come in blocks of one length, by one program, and NumPy does
    the rest. Traced, the same operations give the same numbers.
    """
    count = prod(shape)
    first = cast(jax.Array, _blocks(dtype, AT_ONCE, key, 0))
    if isinstance(first, jax.core.Tracer):
        traced = cast(jax.Array, _blocks(dtype, -(-count // BLOCK), key, 0))[:count]
        # Without the barriers XLA joins factors that are constants, and rounds once.
        bent = jax.lax.optimization_barrier(bend(jax.lax.optimization_barrier(traced)))
        return bent.reshape(shape) * jnp.asarray(scale, dtype)
    flat = np.empty(count, first.dtype)
    for start in range(0, count, AT_ONCE * BLOCK):
        part = flat[start : start + AT_ONCE * BLOCK]
        later = cast(jax.Array, _blocks(dtype, AT_ONCE, key, start // BLOCK)) if start else first
        drawn = bend(later)
        np.multiply(np.asarray(drawn)[: part.size], np.asarray(scale, flat.dtype), out=part)
    return jax.device_put(flat.reshape(shape))


@jax.jit(static_argnums=(0, 1))
def _blocks(dtype: DTypeLike, count: int, key: jax.Array, first: int | jax.Array) -> jax.Array:
    """Return blocks of uniform numbers, from that number on, in one row."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    above = np.nextafter(np.array(-1, dtype), np.array(0, dtype))  # erf_inv(-1) is infinite

    def block(number: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, number), (BLOCK,), dtype, above, 1)

    return jax.vmap(block)(first + jnp.arange(count)).reshape(-1)
