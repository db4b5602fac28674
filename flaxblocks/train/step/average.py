"""Exponential moving average of the weights."""

import jax
import jax.numpy as jnp

from flaxblocks.train.step.state import Tree


def update_average(average: Tree, new: Tree, weight: jax.Array) -> Tree:
    """Return ``weight * average + (1 - weight) * new``.

    Integers, such as a count of batches, are copied.

    Args:
        average: the average so far.
        new: the new arrays.
        weight: of the past.
    """

    def update(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return old + (1 - weight).astype(new.dtype) * (new - old)

    return jax.tree.map(update, average, new)
