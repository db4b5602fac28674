"""The moving average of a network in training."""

import jax
import jax.numpy as jnp

from flaxblocks.train.step.state import Average, Tree


def moved(
    average: Average, params: Tree, statistics: Tree, *, decay: float, step: jax.Array
) -> Average:
    """Return the average one step further: ``decay * average + (1 - decay) * new``.

    Early on the decay is smaller, ``(1 + step) / (10 + step)``, so that the first weights are soon
    forgotten. What is not a floating-point number, such as a count, is taken as it is.

    Args:
        average: the average so far.
        params: the new parameters.
        statistics: the new statistics.
        decay: the weight of the past.
        step: number of updates before this one.

    Source: TensorFlow's `ExponentialMovingAverage` with `num_updates`, as EfficientNet's released
        code has it.
    """

    def move(old: jax.Array, new: jax.Array) -> jax.Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        count = step.astype(new.dtype)
        weight = jnp.minimum(decay, (1 + count) / (10 + count))
        return old + (1 - weight) * (new - old)

    return jax.tree.map(move, average, Average(params, statistics))
