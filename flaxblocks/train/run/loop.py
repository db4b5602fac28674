# pyright: reportUnknownMemberType=false
"""The loop around the train step: it logs, evaluates, saves and stops."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks._base import checks
from flaxblocks.train.data.batches import Feed
from flaxblocks.train.data.unreadable import UnreadableImages
from flaxblocks.train.run.checkpoints import Checkpoints
from flaxblocks.train.run.json_log import EVALUATION, Record
from flaxblocks.train.run.stop import Stop
from flaxblocks.train.step.state import Batch, Metrics, TrainState

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
"""A train step, which consumes the state; see `TrainStep`."""

Watcher = Callable[[Record], None]
"""Receives the records of the log, such as `JsonLines` and `ProgressLine`."""


@runtime_checkable
class Evaluation(Protocol):
    """What judges a state now and then, such as `Judge`."""

    def __call__(self, state: TrainState) -> dict[str, float] | None:
        """Return numbers about a state for the log; None where it was asked to stop."""
        ...

    def keep(self, state: TrainState, values: dict[str, float]) -> None:
        """Keep the state apart where these numbers about it are the best so far."""
        ...


AHEAD = 2  # steps that are dispatched before the first one's metrics are read


class DivergedError(ValueError):
    """The loss or the state is no longer finite."""


@dataclass
class Loop:
    """Trains a state to a number of steps.

    The final state depends on the first state and the data's position only: a run that is
    interrupted at any moment and resumed from its newest checkpoint ends with the same bits as
    one that is not.

    Args:
        step: the train step, see `make_train_step`.
        feed: the batches.
        checkpoints: where the state is saved.
        watchers: receive the records of the log.
        tick: is called with the number of each step that is done.
        evaluate: judges the state now and then; None for no evaluation.
        unreadable: images that could not be read, for the log.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints.
        evaluate_every: steps between evaluations.
        stop: asks the loop to save and stop early.

    Raises:
        TypeError: if a number of steps is not an integer.
        ValueError: if one is not positive.
    """

    step: Step
    feed: Feed
    checkpoints: Checkpoints
    watchers: Sequence[Watcher] = ()
    tick: Callable[[int], None] = lambda number: None
    evaluate: Evaluation | None = None
    unreadable: UnreadableImages | None = None
    log_every: int = 50
    save_every: int = 1000
    evaluate_every: int = 1000
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self):
        for name in ("log_every", "save_every", "evaluate_every"):
            checks.positive_int(name, getattr(self, name))

    def run(self, state: TrainState, until: int) -> TrainState:
        """Train.

        Args:
            state: the state to continue from; it is consumed.
            until: number of the last step.

        Returns:
            The last state, which is saved; an earlier one where `stop` asked for it.

        Raises:
            DivergedError: if the loss or the state is not finite; earlier checkpoints are.
            OSError: if a checkpoint or the log cannot be written.
            ValueError: if too many images cannot be read, or a label is out of range.
        """
        number = saved = int(state.step)
        window = _Window(self.feed, until)
        pending: deque[tuple[int, Metrics]] = deque()
        while number < until and not self.stop.reached(number):
            state, metrics = self._advance(state, window)
            number += 1
            pending.append((number, metrics))
            evaluates = number == until or number % self.evaluate_every == 0
            saves = number == until or number % self.save_every == 0
            while len(pending) > (0 if evaluates or saves else AHEAD):
                self._report(*pending.popleft(), window)
            start = time.monotonic()
            values = self._evaluated(state, number) if evaluates else None
            if saves:
                self._save(state, number)
                saved = number
            if values is not None and self.evaluate is not None:
                # A disk that is nearly full holds the checkpoint first.
                self.checkpoints.wait()
                self.evaluate.keep(state, values)
            window.pause(time.monotonic() - start)
        for step in pending:
            self._report(*step, window)
        if saved < number:
            self._save(state, number)
        self.checkpoints.wait()
        return state

    def _advance(self, state: TrainState, window: "_Window") -> tuple[TrainState, Metrics]:
        batch = next(self.feed)
        start = time.monotonic()
        state, metrics = self.step(state, batch)
        shapes = jax.tree.map(jnp.shape, batch)
        if shapes != window.shapes:  # compiled now, as the others are not
            window.pause(time.monotonic() - start)
        window.shapes = shapes
        return state, metrics

    def _report(self, number: int, metrics: Metrics, window: "_Window") -> None:
        """Wait for the metrics of a step, check its loss, and log."""
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not np.isfinite(values["loss"]):
            raise DivergedError(
                f"the loss of step {number} is {values['loss']}: training stops{self._kept()}"
            )
        window.add(values)
        self.tick(number)
        for name, reason in self.unreadable.new() if self.unreadable else ():
            self._log({"step": number, "unreadable": name, "text": f"left out {name}: {reason}"})
        if number % self.log_every == 0 or number == window.until:
            count = {"unreadable_images": self.unreadable.count} if self.unreadable else {}
            self._log({"step": number, **window.close(number), **count})

    def _evaluated(self, state: TrainState, number: int) -> dict[str, float] | None:
        """Return the numbers of an evaluation, and log them."""
        values = None if self.evaluate is None else self.evaluate(state)
        if values is not None:
            self._log({"step": number} | {f"{EVALUATION}{k}": v for k, v in values.items()})
        return values

    def _save(self, state: TrainState, number: int) -> None:
        if not all_finite(state):
            raise DivergedError(
                f"after step {number} the network is no longer finite: training stops{self._kept()}"
            )
        self.checkpoints.save(state, self.feed.position())

    def _kept(self) -> str:
        steps = self.checkpoints.steps()
        return f", and step {steps[-1]} is kept in {self.checkpoints.folder}" if steps else ""

    def _log(self, record: Record) -> None:
        for watch in self.watchers:
            watch(record)


class _Window:
    """The metrics and times since the last line of the log."""

    def __init__(self, feed: Feed, until: int):
        self.feed = feed
        self.until = until
        self.shapes: Any = None
        self._reset()

    def _reset(self) -> None:
        self._seen: list[dict[str, float]] = []
        self._start = time.monotonic()
        self._waited = self.feed.waited

    def pause(self, seconds: float) -> None:
        """Do not count time that was spent on evaluation and saving."""
        self._start += seconds

    def add(self, values: dict[str, float]) -> None:
        self._seen.append(values)

    def close(self, number: int) -> dict[str, float]:
        """Return the means and rates, and start a new window."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        steps = len(self._seen)
        waited = self.feed.waited - self._waited
        names = self._seen[0]
        images = cast(int, jax.tree.leaves(self.shapes)[0])  # the first axis of the first array
        record = {name: sum(values[name] for values in self._seen) / steps for name in names}
        self._reset()
        return record | {
            "images_per_second": steps * images / seconds,
            "seconds_left": (self.until - number) * seconds / steps,
            "input_stall": min(waited / seconds, 1.0),
        }


def all_finite(state: TrainState) -> bool:
    """Return whether every floating-point number of a state is finite."""
    leaves: list[jax.Array] = jax.tree.leaves(state)
    floating = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return bool(cast(jax.Array, _all_finite(floating)))


@jax.jit
def _all_finite(leaves: list[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all()
