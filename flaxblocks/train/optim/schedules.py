# pyright: reportMissingTypeStubs=false
"""Learning-rate schedules: warm-up, then decay."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from flaxblocks._base import checks

Schedule = Callable[[float, int, float], optax.Schedule]
"""Takes the peak, the number of updates and the number of epochs of the run, and returns the
learning rate as a function of the number of updates so far."""


@dataclass(frozen=True)
class Decay:
    """Multiply the learning rate by a factor every so many epochs: a `Schedule`.

    >>> rate = Decay(0.1, every=30)(0.1, 900, 90)
    >>> [round(float(rate(step)), 6) for step in (0, 299, 300, 600)]
    [0.1, 0.1, 0.01, 0.001]

    Args:
        factor: factor of each decay.
        every: epochs from one decay to the next, counted from the start of the run.
        warmup: epochs of linear warm-up from 0.

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
        decay = optax.exponential_decay(peak, max(1, every), self.factor, staircase=True)
        return _with_warmup(peak, warmup, decay)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from the end of the warm-up to the end of the run: a `Schedule`.

    >>> rate = Cosine(warmup=1)(0.8, 50, 5)
    >>> [round(float(rate(step)), 6) for step in (0, 5, 10, 30, 50)]
    [0.0, 0.4, 0.8, 0.4, 0.0]
    >>> rate = Cosine(warmup=2, start=0.1, per_epoch=True)(1.0, 50, 5)
    >>> [round(float(rate(step)), 6) for step in (0, 9, 10, 19, 20)]
    [0.1, 0.1, 0.55, 0.55, 1.0]

    Args:
        warmup: epochs of linear warm-up.
        floor: the last learning rate, as a fraction of the peak.
        start: the first learning rate of the warm-up, as a fraction of the peak.
        per_epoch: whether the learning rate changes from epoch to epoch only, as it does in
            torchvision's and timm's training scripts.
        through_warmup: whether the cosine begins with the run, and the warm-up stands in place of
            its first part, as in timm.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if an argument is out of range.

    Source: Loshchilov and Hutter 2017, equation 5, without restarts;
        `torch.optim.lr_scheduler.CosineAnnealingLR` after `LinearLR`; timm's `CosineLRScheduler`.
    """

    warmup: float = 0.0
    floor: float = 0.0
    start: float = 0.0
    per_epoch: bool = False
    through_warmup: bool = False

    def __post_init__(self):
        checks.at_least_0("warmup", self.warmup)
        checks.fraction("floor", self.floor)
        checks.fraction("start", self.start)

    def __call__(self, peak: float, total_steps: int, epochs: float) -> optax.Schedule:
        """Return the learning rate as a function of the number of updates so far."""
        # In epochs where it changes with them, else in steps: whole numbers, which stay exact.
        unit = total_steps / epochs if self.per_epoch else 1
        end, warmup = total_steps / unit, _steps(self.warmup, total_steps, epochs) / unit
        begin = 0 if self.through_warmup else warmup

        def rate(step: ArrayLike) -> jax.Array:
            time = jnp.asarray(step, float)
            if self.per_epoch:
                time = jnp.floor((time + 0.5) / unit)  # a half, so that no rounding matters
            part = jnp.clip((time - begin) / max(end - begin, 1e-9), 0, 1)
            cosine = self.floor + (1 - self.floor) * (1 + jnp.cos(jnp.pi * part)) / 2
            rising = self.start + (1 - self.start) * time / max(warmup, 1e-9)
            return peak * jnp.where(time < warmup, rising, cosine)

        return rate


def _steps(epochs: float, total_steps: int, total_epochs: float) -> int:
    return round(epochs * total_steps / total_epochs)


def _with_warmup(peak: float, warmup: int, then: optax.Schedule) -> optax.Schedule:
    """Return linear warm-up from 0 to the peak, and then the other schedule."""
    if not warmup:
        return then

    def rate(step: ArrayLike) -> jax.Array:
        step = jnp.asarray(step)
        return jnp.where(step < warmup, peak * step / warmup, then(step))

    return rate
