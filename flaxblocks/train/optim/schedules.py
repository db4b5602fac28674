"""Learning rates over a run: how they rise and how they fall."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from flaxblocks._base import checks

Schedule = Callable[[float, int, float], optax.Schedule]
"""Gives the learning rate by the number of updates so far, from its peak, the run's number of
updates and the run's number of epochs."""


@dataclass(frozen=True)
class Decay:
    """Multiply by a factor every so many epochs.

    >>> rate = Decay(0.1, every=30)(0.1, 900, 90)
    >>> [round(float(rate(step)), 6) for step in (0, 299, 300, 600)]
    [0.1, 0.1, 0.01, 0.001]

    Args:
        factor: what each fall leaves.
        every: epochs from one fall to the next, counted from the start of the run.
        warmup: epochs in which the learning rate rises from 0, in a straight line.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if an argument is out of range.

    Source: `torch.optim.lr_scheduler.StepLR`; the released code of Tan and Le 2019 (with warm-up).
    """

    factor: float
    every: float
    warmup: float = 0.0

    def __post_init__(self):
        checks.fraction("factor", self.factor)
        checks.at_least_0("warmup", self.warmup)
        if checks.at_least_0("every", self.every) == 0:
            raise ValueError(f"`every` must be above 0, got {self.every!r}")

    def __call__(self, peak: float, total_steps: int, epochs: float) -> optax.Schedule:
        """Return the learning rate as a function of the number of updates so far."""
        every, warmup = (_steps(n, total_steps, epochs) for n in (self.every, self.warmup))
        falling = optax.exponential_decay(peak, max(1, every), self.factor, staircase=True)
        return _rising_first(peak, warmup, falling)


@dataclass(frozen=True)
class Cosine:
    """Fall along half a cosine, from the end of the warm-up to the end of the run.

    >>> rate = Cosine(warmup=1)(0.8, 50, 5)
    >>> [round(float(rate(step)), 6) for step in (0, 5, 10, 30, 50)]
    [0.0, 0.4, 0.8, 0.4, 0.0]

    Args:
        warmup: epochs in which the learning rate rises from 0, in a straight line.
        floor: the last learning rate, as a part of the peak.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if an argument is out of range.

    Source: Loshchilov and Hutter 2017, equation 5, without restarts.
    """

    warmup: float = 0.0
    floor: float = 0.0

    def __post_init__(self):
        checks.at_least_0("warmup", self.warmup)
        checks.fraction("floor", self.floor)

    def __call__(self, peak: float, total_steps: int, epochs: float) -> optax.Schedule:
        """Return the learning rate as a function of the number of updates so far."""
        warmup = _steps(self.warmup, total_steps, epochs)
        falling = optax.cosine_decay_schedule(peak, max(1, total_steps - warmup), self.floor)
        return _rising_first(peak, warmup, lambda step: falling(jnp.asarray(step) - warmup))


def _steps(epochs: float, total_steps: int, total_epochs: float) -> int:
    return round(epochs * total_steps / total_epochs)


def _rising_first(peak: float, warmup: int, then: optax.Schedule) -> optax.Schedule:
    """Return a straight line from 0 to the peak, and after so many steps the other schedule."""
    if not warmup:
        return then

    def rate(step: ArrayLike) -> jax.Array:
        step = jnp.asarray(step)
        return jnp.where(step < warmup, peak * step / warmup, then(step))

    return rate
