"""A run: every task in turn, with progress."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flaxblocks.bench.report.results import Results, Row
from flaxblocks.bench.sides.contestants import Contestant
from flaxblocks.bench.tasks.task import Task
from flaxblocks.bench.timing.ceilings import ceilings
from flaxblocks.bench.timing.measure import NotTimedError, measure
from flaxblocks.bench.timing.workers import Workers


def bench(
    tasks: Sequence[Task], contestants: Sequence[Contestant], seconds: float, facts: dict[str, Any]
) -> Results:
    """Measure the ceilings and every task, or those before an interrupt from the keyboard.

    Args:
        tasks: at least one, of one dtype, device and number of threads.
        contestants: who does them; the first one's answers are what the others' are compared with.
        seconds: how long to time each contestant at each task.
        facts: what else the results are to say.

    Raises:
        RuntimeError: if there is no such device.
    """
    rows: list[Row] = []
    notes: list[str] = []
    refused: list[str] = []
    columns = (
        TextColumn("{task.description:<60}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        Workers() as staff,
    ):
        bar = progress.add_task("a large product, a large copy", total=len(tasks))
        found = ceilings(tasks[0])
        for task in tasks:

            def show(step: str, task: Task = task) -> None:
                progress.update(bar, description=f"{task}: {step}")

            try:
                measured, said = measure(task, contestants, seconds, show, staff)
                rows += measured
                notes += said
            except NotTimedError as error:
                refused.append(str(error))
            except KeyboardInterrupt:
                staff.close(wait=False)
                notes.append(f"interrupted at {task}; what comes after it was not timed")
                break
            progress.advance(bar)
    return Results(facts, found, tuple(rows), tuple(notes), tuple(refused))
