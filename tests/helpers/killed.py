"""Kills a command of flaxblocks while it writes.

``python -m tests.helpers.killed NUMBER FOLDER COMMAND...`` runs the command, and kills the process
at the NUMBER-th change of a file in FOLDER, before it happens. It knows the network ``tiny``, and
a benchmark measures nothing, as times differ from run to run.
"""

import os
import signal
import sys
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")


def is_change(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Return whether an event of Python's changes a file in a folder."""
    if event == "open":
        _, _, flags = arguments
        if not flags & (os.O_WRONLY | os.O_RDWR):
            return False
    elif event not in CHANGES:
        return False
    path = arguments[0]
    return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(folder)


def main(number: str, folder: str, *command: str) -> int:
    from flaxblocks.bench.timing import run as timing
    from flaxblocks.cli import main as run
    from tests.helpers.bench_results import measured
    from tests.helpers.tiny_training import register_tiny

    left = [int(number)]
    sys.argv = ["flaxblocks", *command]  # which reports tell
    register_tiny()
    timing.bench = measured

    def kill(event: str, arguments: tuple[Any, ...]) -> None:
        if is_change(event, arguments, os.path.abspath(folder)):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    return run(command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
