"""What receives the log of a run: JSON lines always, and others that are asked for."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from flaxblocks._base.optional import required
from flaxblocks.train.run.json_log import JsonLines, Record
from flaxblocks.train.run.loop import Watcher
from flaxblocks.train.run.run_folder import RunFolder
from flaxblocks.train.run.tensorboard import TensorBoard


class Tracker:
    """Sends the numbers of a run to wandb or trackio, whose functions are the same.

    Args:
        package: ``"wandb"`` or ``"trackio"``.
        name: the run's.
        settings: what the result depends on.

    Raises:
        ImportError: if the package is not installed.
    """

    def __init__(self, package: str, name: str, settings: Mapping[str, Any]):
        self._package = _package(package)
        self._package.init(project="flaxblocks", name=name, config=dict(settings))

    def __call__(self, record: Record) -> None:
        """Send the numbers of a record."""
        numbers = {n: v for n, v in record.items() if n != "step" and isinstance(v, int | float)}
        if numbers:
            self._package.log(numbers, step=record["step"])

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self._package.finish()


def check_logs(logs: Sequence[str]) -> None:
    """Check that the packages of the logs are there, before anything is trained.

    Raises:
        ImportError: if one is not installed.
    """
    for log in logs:
        if log != "jsonl":
            _package(log)


def _package(log: str) -> Any:
    module = "tensorboardX" if log == "tensorboard" else log
    return required(module, module, f"the log {log!r} needs", install=module)


@contextmanager
def log_writers(
    folder: RunFolder, step: int, logs: Sequence[str], settings: Mapping[str, Any]
) -> Generator[tuple[Watcher, ...], None, None]:
    """Yield the writers of this process's log; only the first process writes more than JSON lines.

    Args:
        folder: the run's.
        step: the step that the run is resumed from.
        logs: ``"tensorboard"``, ``"wandb"``, ``"trackio"``, and ``"jsonl"``, which always is.
        settings: what the result depends on.

    Raises:
        ImportError: if a package is not installed.
        OSError: if the log cannot be written.
    """
    with ExitStack() as stack:
        writers: list[Watcher] = [JsonLines(folder.log, step)]
        for log in logs if folder.process == 0 else ():
            if log == "jsonl":  # the first one already
                continue
            if log == "tensorboard":
                writers.append(stack.enter_context(TensorBoard(folder.tensorboard, step)))
            else:
                name = folder.path.absolute().name
                writers.append(stack.enter_context(Tracker(log, name, settings)))
        yield tuple(writers)
