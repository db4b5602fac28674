"""One task: prepare every contestant, compare the outputs, time."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict

from flaxblocks.bench.report.results import Row
from flaxblocks.bench.sides.answers import difference, limit
from flaxblocks.bench.sides.contestants import Contestant
from flaxblocks.bench.tasks.cost import cost_of
from flaxblocks.bench.tasks.random_data import draw
from flaxblocks.bench.tasks.task import Task
from flaxblocks.bench.timing.interleaved import race
from flaxblocks.bench.timing.worker import Ready, Worker


class NotTimedError(Exception):
    """Flaxblocks cannot do a task, or a contestant's answer differs from ours."""


def measure(
    task: Task,
    contestants: Sequence[Contestant],
    seconds: float,
    on_step: Callable[[str], None],
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
    with ExitStack() as stack:
        # They start at once, to import what they need side by side, and then wait for their turn.
        workers = [stack.enter_context(closing(Worker(one, task))) for one in able]
        ready: dict[Worker, Ready] = {}
        notes = []
        for worker in workers:
            on_step(f"compiling {worker.name}")
            try:
                ready[worker] = worker.prepare(task, data)
            except (RuntimeError, ImportError) as error:
                said = f"{task}: {worker.name} cannot: {_first_line(error)}"
                if worker is workers[0]:
                    raise NotTimedError(said) from error
                notes.append(said)
        differences = _compare(task, ready)
        spreads = race(
            list(ready), seconds, lambda fraction: on_step(f"timing, {100 * fraction:.0f} %")
        )
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
            )
            for worker in ready
        ], notes


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
