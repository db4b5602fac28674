"""The log of a run as one moving line on a terminal."""

import threading
import time
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from flaxblocks.train.run.json_log import Record

COMPILING = "the first step is being compiled"


class ProgressLine:
    """Shows the progress of training: one moving line on a terminal, else a line for each record.

    Without a terminal there is a line at least every `patience` seconds, while a step is compiled
    too.

    Args:
        steps: number of steps in the run.
        console: where to write; standard error where absent.
        first: whether this is the first of several processes; the others print only which of
            their images cannot be read.
        patience: seconds.
    """

    def __init__(
        self,
        steps: int,
        console: Console | None = None,
        *,
        first: bool = True,
        patience: float = 30.0,
    ):
        self._steps = steps
        self._first = first
        self._patience = patience
        self._said = time.monotonic()
        self._ended = threading.Event()
        self._state = COMPILING
        self._console = console or Console(stderr=True, highlight=False)
        self._progress = Progress(
            BarColumn(20),
            TextColumn("{task.description}"),
            console=self._console,
            disable=not (first and self._console.is_terminal),
        )
        self._task = self._progress.add_task(COMPILING, total=steps)

    def __enter__(self) -> "ProgressLine":
        self._progress.start()
        if self._first and not self._console.is_terminal:
            self.say(COMPILING)
            threading.Thread(target=self._repeat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._progress.stop()

    def _repeat(self) -> None:
        """Say where training is whenever nothing was said for long."""
        start = time.monotonic()
        while not self._ended.wait(self._said + self._patience - time.monotonic()):
            if time.monotonic() >= self._said + self._patience:
                self.say(f"{self._state} ({timedelta(seconds=round(time.monotonic() - start))})")

    def __call__(self, record: Record) -> None:
        """Show a record."""
        if "text" in record:
            self.say(record["text"])
        elif not self._first:
            return
        elif "loss" in record:
            line = describe(record, self._steps)
            self._progress.update(self._task, completed=record["step"], description=line)
            if not self._console.is_terminal:
                self.say(line)
        elif "evaluation_loss" in record:
            self.say(
                f"step {record['step']}: evaluation loss {record['evaluation_loss']:.4f}, "
                f"accuracy {100 * record['evaluation_accuracy']:.2f} %"
            )

    def done(self, step: int) -> None:
        """Note that a step is done, for the next line that is due."""
        self._state = f"after step {step}/{self._steps}"

    def say(self, line: str) -> None:
        """Print a line above the moving one."""
        self._said = time.monotonic()
        self._console.print(Text(line), soft_wrap=True)


def describe(record: Record, steps: int) -> str:
    """Return a training record as a line.

    >>> numbers = {"loss": 1.5, "images_per_second": 1234.5, "seconds_left": 61, "input_stall": 0}
    >>> describe({"step": 9} | numbers, 100)
    'step 9/100  loss 1.5000  1,234 images/s  0:01:01 left  waits for images 0 %'
    """
    return (
        f"step {record['step']}/{steps}  loss {record['loss']:.4f}  "
        f"{record['images_per_second']:,.0f} images/s  "
        f"{timedelta(seconds=round(record['seconds_left']))} left  "
        f"waits for images {100 * record['input_stall']:.0f} %"
    )
