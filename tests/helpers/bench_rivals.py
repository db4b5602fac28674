"""Contestants for the benchmark's tests, at their places by name."""

from dataclasses import replace
from time import sleep

import numpy as np

from flaxblocks.bench.sides import jax_side
from flaxblocks.bench.sides.contestants import Contestant
from flaxblocks.bench.tasks.task import Data, Prepared, Task

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
