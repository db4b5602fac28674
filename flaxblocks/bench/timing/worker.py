"""A contestant in a process of its own, with its own threads and memory."""

import gc
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from flaxblocks._base.allocator import give_back_free_memory, keep_freed_memory
from flaxblocks.bench.sides.contestants import Contestant
from flaxblocks.bench.tasks.task import Data, Prepared, Task
from flaxblocks.bench.timing import process_memory

WARM = 0.01  # seconds: for 5 ms after a rest, cores that multiply together are 1.3 times slower


@dataclass(frozen=True)
class Ready:
    """What a worker reports once it is prepared, see `Prepared`."""

    answer: Mapping[str, np.ndarray]
    compile_seconds: float


class Worker:
    """A contestant's process, started at once.

    Args:
        contestant: who runs in it.
        task: whose threads and memory its process is given.
    """

    def __init__(self, contestant: Contestant, task: Task):
        self.name = contestant.name
        self._contestant = contestant
        self._process = process(task)
        self._process.submit(_import, contestant)

    def prepare(self, task: Task, data: Data) -> Future[Ready]:
        """Start to prepare a task.

        Returns:
            What gives a `Ready`, or raises a RuntimeError if the contestant cannot do the task or
            its process ended, or an ImportError if it needs a package that is not installed.
        """
        ready = self._process.submit(_prepare, self._contestant, task, data)
        self._process.submit(_settle)
        return ready

    def time(self, calls: int) -> list[float]:
        """Return the seconds that each of so many calls takes, after some that are not counted.

        An accelerator is given all calls at once, so that what it takes to start one is not
        measured: there it is their mean alone.
        """
        return self._process.submit(_time, calls).result()

    def kernels(self) -> dict[str, float]:
        """Return the seconds that each of the device's kernels takes, by name."""
        return self._process.submit(_kernels).result()

    def memory(self) -> int | None:
        """Return the peak of the memory in bytes.

        On CPU it is that of the process while calls were timed, less what it held when its
        libraries were imported. What is free when the calls begin is given back, for all alike: the
        arrays that the weights came in, and what compilers left. On other devices it is the
        device's own. None where the system does not tell.
        """
        return self._process.submit(_memory).result()

    def close(self, wait: bool = True) -> None:
        """End the process, once it has done what it is at.

        Args:
            wait: whether to return only then.
        """
        self._process.shutdown(wait, cancel_futures=True)


def process(task: Task) -> ProcessPoolExecutor:
    """Return one fresh process with as many CPUs as the task has threads."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, initializer=_start, initargs=(task,))


def _start(task: Task) -> None:
    """XLA makes as many threads as there are CPUs that the process may use."""
    if task.keep_freed_memory and not keep_freed_memory():
        raise RuntimeError("`--keep-freed-memory` needs glibc, which this system does not have")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task.threads])


@dataclass
class _Held:
    """The worker process's state between calls."""

    prepared: Prepared
    on_cpu: bool


_held: list[_Held] = []
_imported: list[int | None] = []  # the resident memory once the libraries are


def _import(contestant: Contestant) -> None:
    contestant.load()
    _imported.append(process_memory.resident())


def _prepare(contestant: Contestant, task: Task, data: Data) -> Ready:
    _held.clear()
    prepared = contestant.load()(task, data)
    _held.append(_Held(prepared, task.device == "cpu"))
    return Ready(prepared.answer, prepared.compile_seconds)


def _settle() -> None:
    """Forget what preparing took, in a call of its own: the task's arrays are gone by then."""
    gc.collect()
    give_back_free_memory()
    process_memory.forget_peak()


def _time(calls: int) -> list[float]:
    (held,) = _held
    run, wait = held.prepared.run, held.prepared.wait
    gc.disable()
    began = perf_counter()
    wait(run())
    while perf_counter() - began < WARM:
        wait(run())
    at_once = 1 if held.on_cpu else calls
    seconds: list[float] = []
    for _ in range(calls // at_once):
        started = perf_counter()
        result = None
        for _ in range(at_once):
            result = run()
        wait(result)
        seconds.append((perf_counter() - started) / at_once)
    gc.enable()
    return seconds


def _kernels() -> dict[str, float]:
    (held,) = _held
    assert held.prepared.kernels is not None  # of every contestant that runs on an accelerator
    return dict(held.prepared.kernels())


def _memory() -> int | None:
    (held,) = _held
    if held.prepared.memory is not None:
        return held.prepared.memory()
    peak, (before,) = process_memory.peak(), _imported
    return None if peak is None or before is None else peak - before
