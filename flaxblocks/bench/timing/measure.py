"""One task: prepare every contestant, compare the outputs, time."""

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict

from flaxblocks.bench.report.results import Row
from flaxblocks.bench.sides.answers import difference, limit
from flaxblocks.bench.sides.contestants import Contestant
from flaxblocks.bench.tasks.cost import cost_of
from flaxblocks.bench.tasks.random_data import draw
from flaxblocks.bench.tasks.task import Data, Task
from flaxblocks.bench.timing.interleaved import race
from flaxblocks.bench.timing.worker import Ready, Worker
from flaxblocks.bench.timing.workers import Workers


class NotTimedError(Exception):
    """Flaxblocks cannot do a task, or a contestant's answer differs from ours."""


MOST_KERNELS = 10


def measure(
    task: Task,
    contestants: Sequence[Contestant],
    seconds: float,
    on_step: Callable[[str], None],
    staff: Workers,
) -> tuple[list[Row], list[str]]:
    """Time contestants at a task for so many seconds each; outputs must equal the first one's.

    Returns:
        A row for each that could do it, and a line about each other one.

    Raises:
        NotTimedError: if the first contestant cannot do the task, or two answers differ.
    """
    able = [contestant for contestant in contestants if task.mode in contestant.modes]
    on_step("weights and input")
    data = draw(task)
    ready, notes = _prepare(task, data, able, staff, on_step)
    differences = _compare(task, ready)
    spreads = race(
        list(ready), seconds, lambda fraction: on_step(f"timing, {100 * fraction:.0f} %")
    )
    kernels: dict[Worker, tuple[tuple[str, float], ...]] = {}
    for worker in ready if task.mode == "step" else ():
        try:
            kernels[worker] = _slowest(worker)
        except (
            RuntimeError,
            ValueError,
            OSError,
        ) as error:  # a profiler needs rights and libraries
            notes.append(f"{task}: {worker.name} was not profiled: {_first_line(error)}")
    work, moved = cost_of(task)
    return [
        Row(
            subject=task.subject,
            mode=task.mode,
            batch=task.batch,
            size=task.size,
            contestant=worker.name,
            **asdict(spreads[worker.name]),
            compile_seconds=ready[worker].compile_seconds,
            memory=worker.memory(),
            difference=differences[worker.name],
            multiply_adds=work,
            moved=moved,
            kernels=kernels.get(worker, ()),
        )
        for worker in ready
    ], notes


def _prepare(
    task: Task,
    data: Data,
    contestants: Sequence[Contestant],
    staff: Workers,
    on_step: Callable[[str], None],
) -> tuple[dict[Worker, Ready], list[str]]:
    """Prepare the contestants, on CPU one after the other, elsewhere side by side."""
    workers = staff.of(contestants, task)
    ready: dict[Worker, Ready] = {}
    notes: list[str] = []
    started = {} if task.device == "cpu" else {w: w.prepare(task, data) for w in workers}
    for worker in workers:
        on_step(f"compiling {worker.name}")
        try:
            ready[worker] = (started.get(worker) or worker.prepare(task, data)).result()
        except (RuntimeError, ImportError) as error:
            said = f"{task}: {worker.name} cannot: {_first_line(error)}"
            if isinstance(error, BrokenExecutor):
                staff.end(worker)
            if worker is workers[0]:
                raise NotTimedError(said) from error
            notes.append(said)
    return ready, notes


def _slowest(worker: Worker) -> tuple[tuple[str, float], ...]:
    kernels = sorted(worker.kernels().items(), key=lambda item: -item[1])
    return tuple(kernels[:MOST_KERNELS])


def _compare(task: Task, ready: dict[Worker, Ready]) -> dict[str, float]:
    first, *_ = ready
    differences = {
        worker.name: difference(one.answer, ready[first].answer) for worker, one in ready.items()
    }
    wrong = {name: value for name, value in differences.items() if not value <= limit(task)}
    if wrong:
        said = ", ".join(f"{name} by {value:.2g}" for name, value in wrong.items())
        raise NotTimedError(
            f"{task}: the answers differ from {first.name}'s by more than "
            f"{limit(task):g} of their size: {said}"
        )
    return differences


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
