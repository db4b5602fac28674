"""Draw a network's first weights as its source does."""

from collections.abc import Iterator
from math import prod, sqrt

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from flaxblocks.blocks import BasicBlock, BottleNeck
from flaxblocks.layers.draw import Initializer, draw_scaled, symmetric_uniform
from flaxblocks.models.architecture import Initialisation


def kaiming_normal(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Draw from a normal distribution of variance ``2 / fan_out``.

    The fan-out is ``kernel_h * kernel_w * out_features``; see `Initialisation` about groups.

    Source: He et al. 2015, section 2.2.
    """
    return draw_scaled(jax.random.normal, key, shape, dtype, sqrt(2 / _fan_out(shape)))


def normal(deviation: float) -> Initializer:
    """Return an initialiser that draws from a normal distribution about 0."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        return draw_scaled(jax.random.normal, key, shape, dtype, deviation)

    return init


def uniform(gain: float) -> Initializer:
    """Return an initialiser that draws uniformly from ``+-gain / sqrt(fan_out)``."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        return symmetric_uniform(gain / sqrt(_fan_out(shape)))(key, shape, dtype)

    return init


def zeros(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Return zeros."""
    return jnp.zeros(shape, dtype)


def _fan_out(shape: tuple[int, ...]) -> int:
    *window, _, out_features = shape
    return prod(window) * out_features


def initialise(model: nnx.Module, rules: Initialisation, rngs: nnx.Rngs) -> None:
    """Redraw the weights that the rules name, in place.

    Args:
        model: the network.
        rules: how to draw each kind of tensor.
        rngs: random streams; ``params`` is drawn from.
    """
    key = rngs.params()
    for number, (param, draw) in enumerate(_drawn(model, rules)):
        old = param.get_value()
        param.set_value(draw(jax.random.fold_in(key, number), old.shape, old.dtype))


def _drawn(model: nnx.Module, rules: Initialisation) -> Iterator[tuple[nnx.Param, Initializer]]:
    """Yield each parameter that the rules draw, with its rule, in the order of their paths."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv):
            pairs = ((module.kernel, _conv_rule(module, rules)), (module.bias, rules.conv_bias))
        elif isinstance(module, nnx.Linear):
            pairs = ((module.kernel, rules.linear), (module.bias, rules.linear_bias))
        elif isinstance(module, BasicBlock | BottleNeck):
            last = module.second if isinstance(module, BasicBlock) else module.expand
            pairs = ((getattr(last.norm, "scale", None), rules.residual_scale),)
        else:
            continue
        for param, draw in pairs:
            if param is not None and draw is not None:
                yield param, draw


def _conv_rule(conv: nnx.Conv, rules: Initialisation) -> Initializer | None:
    """Return the rule for a convolution's kernel.

    What is drawn shrinks as the root of the fan-out: of one group's, it is the larger by the root
    of their number.
    """
    draw, groups = rules.conv, conv.feature_group_count
    if draw is None or groups == 1 or not rules.fan_out_of_group:
        return draw

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
        return draw(key, shape, dtype) * jnp.asarray(sqrt(groups), dtype)

    return init
