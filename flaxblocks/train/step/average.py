"""Exponential moving average of the weights."""

import jax
import jax.numpy as jnp

from flaxblocks.train.step.state import Tree


def update_average(average: Tree, new: Tree, *, decay: float, step: jax.Array) -> Tree:
    """Return ``decay * average + (1 - decay) * new``.

    Early in training the decay is smaller, ``(1 + step) / (10 + step)``, so that the initial
    weights are soon forgotten. Integers, such as a count of batches, are copied.

    Args:
        average: the average so far.
        new: the new arrays.
        decay: weight of the past.
        step: number of updates before this one.

    Source: TensorFlow's `ExponentialMovingAverage` with `num_updates`, as in EfficientNet's
        released code.
    """

    def update(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        count = step.astype(new.dtype)
        weight = jnp.minimum(decay, (1 + count) / (10 + count))
        return old + (1 - weight) * (new - old)

    return jax.tree.map(update, average, new)
