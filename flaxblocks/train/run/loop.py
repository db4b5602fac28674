"""The loop around the train step: it watches, evaluates, saves and stops."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks._base import checks
from flaxblocks.train.data.batches import Feed
from flaxblocks.train.data.unreadable import UnreadableImages
from flaxblocks.train.run.checkpoints import Checkpoints
from flaxblocks.train.run.json_log import Record
from flaxblocks.train.run.stop import Stop
from flaxblocks.train.step.evaluation import Metrics, add, means
from flaxblocks.train.step.state import Batch, TrainState

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
"""A train step, which consumes the state."""

Watcher = Callable[[Record], None]
"""Is told what happens, such as `JsonLines` and `Live`."""

AHEAD = 2  # steps that the devices are told to do before the result of the first is looked at


class DivergedError(ValueError):
    """The loss, or what training changes, is no longer a finite number."""


@dataclass(frozen=True)
class Intervals:
    """How often a loop does what it does besides training, in steps.

    Args:
        log: between lines of the log.
        save: between checkpoints.
        evaluate: between evaluations.

    Raises:
        TypeError: if one is not an integer.
        ValueError: if one is not positive.
    """

    log: int = 50
    save: int = 1000
    evaluate: int = 1000

    def __post_init__(self):
        for name in ("log", "save", "evaluate"):
            checks.positive_int(name, getattr(self, name))


@dataclass
class Loop:
    """Trains a state to a number of steps.

    The state that comes out depends on the state that goes in and the data's position only: a run
    that is interrupted at any moment and goes on from its newest checkpoint ends with the same
    bits as one that is not.

    Args:
        step: the train step, such as `make_train_step` makes; it consumes the state.
        feed: the batches.
        checkpoints: where the state is saved.
        watchers: are called with each record of the log.
        evaluate: gives numbers about a state; None for no evaluation.
        damage: images that could not be read, for the log.
        intervals: how often to log, save and evaluate.
        stop: says when to save and stop early.
    """

    step: Step
    feed: Feed
    checkpoints: Checkpoints
    watchers: Sequence[Watcher] = ()
    evaluate: Callable[[TrainState], dict[str, float]] | None = None
    damage: UnreadableImages | None = None
    intervals: Intervals = field(default_factory=Intervals)
    stop: Stop = field(default_factory=Stop)

    def run(self, state: TrainState, until: int) -> TrainState:
        """Train.

        Args:
            state: where to go on from; it is consumed.
            until: the step to end with.

        Returns:
            The state at the end, saved; or earlier, where `stop` was asked for.

        Raises:
            DivergedError: if the loss or the state is not finite; the checkpoints before are good.
            OSError: if a checkpoint or the log cannot be written.
            ValueError: if too many images cannot be read, or a label is out of range.
        """
        number = saved = int(state.step)
        window = _Window(self.feed, until)
        pending: deque[tuple[int, Metrics]] = deque()
        while number < until and not self.stop.reached(number):
            batch = next(self.feed)
            state, metrics = self.step(state, batch)
            number += 1
            pending.append((number, metrics))
            window.images = len(batch["label"])
            evaluates = number == until or number % self.intervals.evaluate == 0
            saves = number % self.intervals.save == 0
            while len(pending) > (0 if evaluates or saves else AHEAD):
                self._look_at(*pending.popleft(), window)
            start = time.monotonic()
            if evaluates and self.evaluate is not None:
                self._tell_evaluation(number, self.evaluate(state))
            if saves:
                self._save(state, number)
                saved = number
            window.pause(time.monotonic() - start)
        for step in pending:
            self._look_at(*step, window)
        if saved < number:
            self._save(state, number)
        self.checkpoints.wait()
        return state

    def _look_at(self, number: int, metrics: Metrics, window: "_Window") -> None:
        """Wait for a step to end, and tell about it."""
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not np.isfinite(values["loss"]):
            raise DivergedError(
                f"the loss of step {number} is {values['loss']}: training stops{self._kept()}"
            )
        window.add(values)
        for name, reason in self.damage.new() if self.damage else ():
            self._tell({"step": number, "damaged": name, "text": f"left out {name}: {reason}"})
        if number % self.intervals.log == 0 or number == window.until:
            damaged = {"damaged_images": self.damage.count} if self.damage else {}
            self._tell({"step": number, **window.close(number), **damaged})

    def _tell_evaluation(self, number: int, values: dict[str, float]) -> None:
        self._tell({"step": number} | {f"evaluation_{k}": value for k, value in values.items()})

    def _save(self, state: TrainState, number: int) -> None:
        if not all_finite(state):
            raise DivergedError(
                f"after step {number} the network is no longer finite: training stops{self._kept()}"
            )
        self.checkpoints.save(state, self.feed.position())

    def _kept(self) -> str:
        steps = self.checkpoints.steps()
        return f", and step {steps[-1]} is kept in {self.checkpoints.folder}" if steps else ""

    def _tell(self, record: Record) -> None:
        for watch in self.watchers:
            watch(record)


class _Window:
    """What happened since the last line of the log."""

    def __init__(self, feed: Feed, until: int):
        self.feed = feed
        self.until = until
        self.images = 0
        self._reset()

    def _reset(self) -> None:
        self._seen: list[dict[str, float]] = []
        self._start = time.monotonic()
        self._waited = self.feed.waited

    def pause(self, seconds: float) -> None:
        """Leave time out that was not spent on training."""
        self._start += seconds

    def add(self, values: dict[str, float]) -> None:
        self._seen.append(values)

    def close(self, number: int) -> dict[str, float]:
        """Return the means, and begin a new window."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        steps = len(self._seen)
        waited = self.feed.waited - self._waited
        names = self._seen[0]
        record = {name: sum(values[name] for values in self._seen) / steps for name in names}
        self._reset()
        return record | {
            "images_per_second": steps * self.images / seconds,
            "seconds_left": (self.until - number) * seconds / steps,
            "input_stall": min(waited / seconds, 1.0),
        }


def all_finite(state: TrainState) -> bool:
    """Return whether every floating point number that a state holds is finite."""
    floating = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return bool(_all_finite(floating))


@jax.jit
def _all_finite(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()


def evaluate(
    step: Callable[[TrainState, Batch], Metrics], state: TrainState, batches: Any
) -> dict[str, float]:
    """Return the means over all batches, such as `make_eval_step` counts them.

    Args:
        step: the evaluation step.
        state: the network.
        batches: on the devices, such as a `Feed` of `evaluation_batches`.

    Returns:
        ``loss``, ``accuracy`` and ``accuracy5``.

    Raises:
        ValueError: if no image could be read.
    """
    sums = None
    for batch in batches:
        sums = add(sums, step(state, batch))
    if sums is None:
        raise ValueError("`batches` must be one or more, got none")
    return means(sums)
