"""Contestants for the benchmark's tests, at their places by name."""

from concurrent.futures import Future
from dataclasses import replace
from time import sleep

import numpy as np

from flaxblocks.bench.sides import jax_side
from flaxblocks.bench.sides.contestants import Contestant
from flaxblocks.bench.tasks.task import Data, Prepared, Task
from flaxblocks.bench.timing import worker

PAUSE = 0.02  # far more than the tests' tasks take


def slow(task: Task, data: Data) -> Prepared:
    prepared = jax_side.fast(task, data)

    def run() -> object:
        sleep(PAUSE)
        return prepared.run()

    return replace(prepared, run=run)


def wrong(task: Task, data: Data) -> Prepared:
    """Right but for one part in a hundred."""
    prepared = jax_side.fast(task, data)
    answer = {name: np.asarray(1.01 * array) for name, array in prepared.answer.items()}
    return replace(prepared, answer=answer)


def failing(task: Task, data: Data) -> Prepared:
    raise RuntimeError("no such instruction\nin a long message")


def contestant(name: str) -> Contestant:
    return Contestant(name, f"tests.helpers.bench_rivals:{name}")


class Here(worker.Worker):
    """A worker in this very process."""

    def __init__(self, contestant: Contestant, task: Task):
        self.name, self.contestant = contestant.name, contestant

    def prepare(self, task: Task, data: Data) -> Future[worker.Ready]:
        future: Future[worker.Ready] = Future()
        try:
            self.prepared = self.contestant.load()(task, data)
            ready = worker.Ready(self.prepared.answer, self.prepared.compile_seconds)
            future.set_result(ready)
        except RuntimeError as error:
            future.set_exception(error)
        return future

    def time(self, calls: int) -> list[float]:
        self.prepared.wait(self.prepared.run())
        return [1.0] * calls

    def kernels(self) -> dict[str, float]:
        assert self.prepared.kernels is not None
        return dict(self.prepared.kernels())

    def memory(self) -> None:
        return None

    def close(self, wait: bool = True) -> None:
        pass
