"""Modules of random weights, as they are folded and run at inference."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import flaxblocks as fb
from flaxblocks import activations


def gate(squeezed: int, act=activations.relu, function=activations.sigmoid) -> Callable:
    return partial(fb.SqueezeExcite, squeeze_features=squeezed, act=act, gate=function)


def randomised(module: nnx.Module, seed: int = 0) -> nnx.Module:
    """Return the module with every array drawn, the variances positive."""
    rng = np.random.default_rng(seed)

    def draw(value: jax.Array) -> jax.Array:
        drawn = rng.standard_normal(value.shape)
        fan_in = np.prod(value.shape[:-1])
        drawn = np.abs(drawn) + 0.1 if value.ndim == 1 else drawn * np.sqrt(2 / fan_in)
        return jnp.asarray(drawn, value.dtype)

    nnx.update(module, jax.tree.map(draw, nnx.state(module, (nnx.Param, nnx.BatchStat))))
    return module


def run(block: nnx.Module, x: jax.Array) -> np.ndarray:
    return np.asarray(nnx.jit(lambda block, x: block(x))(block, x))
