"""The contestants' processes: new ones for each task, or the same ones for all."""

from collections.abc import Sequence
from types import TracebackType

from flaxblocks.bench.sides.contestants import Contestant
from flaxblocks.bench.tasks.task import Task
from flaxblocks.bench.timing.worker import Worker


class Workers:
    """Starts the contestants' processes, and ends them.

    On CPU each task has new ones: what a task before left in memory would count as the next one's.
    On an accelerator, where a library counts its own memory and takes long to start, they stay.
    """

    def __init__(self):
        self._kept: dict[str, Worker] = {}

    def of(self, contestants: Sequence[Contestant], task: Task) -> list[Worker]:
        """Return a worker for each contestant; those of the task before are ended, or the same."""
        if task.device == "cpu":
            self.close()
        for one in contestants:
            if one.name not in self._kept:
                self._kept[one.name] = Worker(one, task)
        return [self._kept[one.name] for one in contestants]

    def end(self, worker: Worker) -> None:
        """End one; where it is needed again, it gets a new process."""
        self._kept.pop(worker.name).close()

    def close(self, wait: bool = True) -> None:
        """End all; for the argument see `Worker.close`."""
        while self._kept:
            self._kept.popitem()[1].close(wait)

    def __enter__(self) -> "Workers":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all."""
        self.close()
