"""Evaluation during training: with statistics that are right, and the best weights kept apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from flaxblocks.train.data.batches import Feed, Place
from flaxblocks.train.run.best import Best
from flaxblocks.train.run.json_log import Record, evaluation_at
from flaxblocks.train.run.outcome import trained
from flaxblocks.train.run.stop import Stop
from flaxblocks.train.step.evaluation import evaluation_sums, means
from flaxblocks.train.step.normalize import Prepare
from flaxblocks.train.step.recalibrate import recalibrate, remembered
from flaxblocks.train.step.state import Batch, Metrics, TrainState

RECALIBRATED = 16  # batches, where a run is short

FORGOTTEN = 0.01
"""Of the first values of a running statistic: what is less does not change an answer."""


@dataclass(frozen=True)
class Recalibration:
    """Replaces the running statistics by those of some training batches, see `recalibrate`.

    Args:
        batches: a grain dataset of training batches.
        count: how many of them; 0 leaves the statistics as they are.
        place: puts a batch on the devices.
        prepare: prepares it there.
    """

    batches: Any
    count: int
    place: Place
    prepare: Prepare

    def __call__(self, state: TrainState) -> TrainState:
        """Return the state with other statistics, or the state itself."""
        if not self.count:
            return state
        with Feed(self.batches, self.place) as feed:
            return recalibrate(state, islice(feed, self.count), prepare=self.prepare)


def recalibrated(model: nnx.Module, steps: int) -> int:
    """Return the number of batches that statistics are taken from after so many steps."""
    return RECALIBRATED if remembered(model, steps) > FORGOTTEN else 0


@dataclass(frozen=True)
class Judge:
    """Evaluates a state, and keeps the best: an `Evaluation`.

    Args:
        step: the evaluation step.
        batches: a grain dataset of evaluation batches.
        place: puts a batch on the devices.
        stop: asks to break off.
        prepared: recalibrates the state.
        best: where the best weights are kept; None for nowhere.
        mesh: the devices.
    """

    step: Callable[[TrainState, Batch], Metrics]
    batches: Any
    place: Place
    stop: Stop
    prepared: Callable[[TrainState], TrainState]
    best: Best | None
    mesh: Mesh

    def __call__(self, state: TrainState) -> dict[str, float] | None:
        """Return the numbers; None where it was asked to stop."""
        state = self.prepared(state)
        with Feed(self.batches, self.place) as feed:
            wanted = takewhile(lambda _: self.stop.asked is None, feed)
            sums = evaluation_sums(self.step, state, wanted)
        return None if sums is None or self.stop.asked is not None else means(sums)

    def keep(self, state: TrainState, values: dict[str, float]) -> None:
        """Write the weights of a state that is better than all before.

        Args:
            state: the state.
            values: what evaluating it gave.

        Raises:
            OSError: if they cannot be written.
        """
        if self.best is not None and self.best.is_better(values):
            network = trained(self.mesh, self.prepared(state))
            self.best.keep(network, int(state.step), values)


def catch_up(judge: Judge, state: TrainState, log: Sequence[Record]) -> None:
    """Keep a resumed state that its evaluation found best, where that was still to be done."""
    values = evaluation_at(log, int(state.step))
    if values:
        judge.keep(state, values)
