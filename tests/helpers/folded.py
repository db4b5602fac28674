"""Modules of random weights, as they are folded and run at inference."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import flaxblocks as fb
from flaxblocks import activations

M = TypeVar("M", bound=nnx.Module)
CALL = re.compile(r"@flaxblocks_inverted_residual_[0-9a-f]{8}\b")


def gate(squeezed: int, act=activations.relu, function=activations.sigmoid) -> Callable:
    return partial(fb.SqueezeExcite, squeeze_features=squeezed, act=act, gate=function)


def randomized(module: M, seed: int = 0) -> M:
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


def folded(*args, dtype=jnp.float64, seed: int = 0, **kwargs) -> fb.MBConv:
    """Return a block for inference, of random weights."""
    block = fb.MBConv(*args, **kwargs, param_dtype=dtype, rngs=nnx.Rngs(seed))
    return fb.for_inference(randomized(block, seed))


def image(block: fb.MBConv, n: int, *size: int, seed: int = 1, dtype=jnp.float64) -> jax.Array:
    units = [unit for unit in (block.expand, block.depthwise) if unit is not None]
    shape = (n, *size, units[0].conv.in_features)
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def is_called(function: Callable, *args) -> bool:
    return bool(CALL.search(jax.jit(function).lower(*args).as_text()))
