"""The bar that shows how much of the comparisons is done."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import takewhile

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# How far each check moves the bar: the seconds that it takes of a ResNet-50, in the order made.
WEIGHTS = {
    "names": 3,
    "bitwise": 3,
    "float64": 7,
    "float32": 11,
    "gradients": 1,
    "statistics": 1,
    "trajectory": 40,
}


def bar() -> Progress:
    """Return a bar; it is hidden where nobody watches."""
    console = Console(stderr=True)
    hidden = not console.is_terminal  # where Rich would write an empty line
    return Progress(
        TextColumn("{task.description:<44}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden,
    )


def length(checks: Collection[str]) -> int:
    """Return how far the checks of one pair move the bar."""
    return sum(WEIGHTS[check] for check in checks)


@dataclass
class Place:
    """Where the comparison of a pair is on the bar; its methods are what `compare` calls."""

    progress: Progress
    task_id: TaskID
    name: str  # of the pair
    checks: Collection[str]  # that are made
    start: float  # of the pair, on the bar
    current: str = ""  # the check that is being made

    def check(self, check: str) -> None:
        """Show that a check begins."""
        self.current = check
        self._show(check, 0)

    def step(self, step: str, done: float) -> None:
        """Show what the current check is at, and how much of it is done, from 0 to 1."""
        self._show(f"{self.current}, {step}", done)

    def _show(self, text: str, done: float) -> None:
        before = takewhile(lambda check: check != self.current, WEIGHTS)
        at = length([check for check in before if check in self.checks])
        at += self.start + done * WEIGHTS[self.current]
        self.progress.update(self.task_id, description=f"{self.name}: {text}", completed=at)
