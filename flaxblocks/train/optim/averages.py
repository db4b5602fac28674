# pyright: reportMissingTypeStubs=false
"""How much of the past a moving average of the weights keeps at each update."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from flaxblocks._base import checks

Average = Callable[[int, int, int], optax.Schedule]
"""Takes the number of updates of the run, of its epochs, and of the images in a batch, and returns
the weight of the past as a function of the number of updates before: 1 keeps the average as it is,
0 replaces it."""


@dataclass(frozen=True)
class RisingAverage:
    """An average at every update, soon without memory of the first weights: an `Average`.

    The weight of the past after `n` updates is ``(1 + n) / (10 + n)``, at most `decay`.

    Args:
        decay: weight of the past.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it does not lie between 0 and 1.

    Source: TensorFlow's `ExponentialMovingAverage` with `num_updates`, as in EfficientNet's
        released code.
    """

    decay: float = 0.9999

    def __post_init__(self):
        checks.fraction("decay", self.decay)

    def __call__(self, total_steps: int, epochs: int, batch_size: int) -> optax.Schedule:
        """Return the weight of the past as a function of the number of updates before."""

        def weight(step: ArrayLike) -> jax.Array:
            count = jnp.asarray(step, float)
            return jnp.minimum(self.decay, (1 + count) / (10 + count))

        return weight


@dataclass(frozen=True)
class SparseAverage:
    """An average at some updates only, a copy of the weights until the warm-up ends: an `Average`.

    The weight of the new is ``(1 - decay) * batch_size * every / epochs``, at most 1.

    Args:
        decay: weight of the past at one update of one image in a run of one epoch.
        every: updates from one to the next, counted in each epoch.
        warmup: epochs in which the average is a copy.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if one is out of range.

    Source: torchvision's classification reference, ``--model-ema``.
    """

    decay: float = 0.99998
    every: int = 32
    warmup: float = 0.0

    def __post_init__(self):
        checks.fraction("decay", self.decay)
        checks.positive_int("every", self.every)
        checks.at_least_0("warmup", self.warmup)

    def __call__(self, total_steps: int, epochs: int, batch_size: int) -> optax.Schedule:
        """Return the weight of the past as a function of the number of updates before."""
        old = 1 - min(1.0, (1 - self.decay) * batch_size * self.every / epochs)
        per_epoch = max(1, total_steps // epochs)

        def weight(step: ArrayLike) -> jax.Array:
            epoch, place = jnp.divmod(jnp.asarray(step), per_epoch)
            # The first update after the warm-up copies too: nothing was averaged before it.
            copies = (epoch < self.warmup) | ((epoch == self.warmup) & (place == 0))
            kept = jnp.asarray(old, float)
            return jnp.where(place % self.every > 0, 1.0, jnp.where(copies, 0.0, kept))

        return weight
