"""A small network with everything that training meets, its data, and how two states compare."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import flaxblocks as fb
from flaxblocks.train.step.state import TrainState
from parity.checks import measure


class SmallNet(nnx.Module):
    """A residual unit with drop path between a stem and a head with dropout.

    Args:
        rate: of drop path and of dropout.
        dtype: of the computation.
        param_dtype: of the parameters.
        rngs: random streams.
    """

    def __init__(
        self,
        *,
        rate: float = 0.0,
        dtype: type | None = None,
        param_dtype: type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.stem = fb.ConvNormAct(3, 32, **make)
        self.unit = fb.ConvNormAct(32, 32, 1, **make)
        self.drop_path = fb.StochasticDepth(rate, rngs=rngs)
        self.head = fb.Head(32, 10, drop_rate=rate, **make)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.stem(x)
        return self.head(x + self.drop_path(self.unit(x)))


def batch(rows: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """Return float64 images whose means differ, so that each part's statistics do."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(rows, 5, 5, 3)) + np.arange(rows).reshape(-1, 1, 1, 1) / rows
    return {"image": image, "label": rng.integers(0, 10, rows).astype(np.int32)}


@cache
def float64_net(rate: float = 0.0) -> SmallNet:
    """Return the network in float64; states copy it, so that tests may share it."""
    return nnx.jit(lambda: SmallNet(rate=rate, param_dtype=jnp.float64, rngs=nnx.Rngs(0)))()


def weights(state: TrainState) -> dict[str, np.ndarray]:
    """Return parameters and statistics by their paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path((state.params, state.statistics))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def apart(state: TrainState, other: TrainState) -> float:
    """Return the largest difference, each array's as a fraction of its own scale."""
    ours, theirs = weights(state), weights(other)
    assert ours.keys() == theirs.keys()
    return max(
        measure.scaled_error(ours[name], theirs[name], max(1.0, measure.scale_of(theirs[name])))
        for name in theirs
    )
