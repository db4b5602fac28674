"""Ending a run from outside: the signals that ask for it."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Notes that the process is asked to end, so that training can save first.

    As a context manager it takes the place of what SIGTERM and SIGINT did, for the first of them:
    the second one does what it did before.

    Attributes:
        asked: the signal that came; None before.
    """

    def __init__(self):
        self.asked: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> "Stop":
        self._before = {kind: signal.signal(kind, self._note) for kind in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, before in self._before.items():
            signal.signal(kind, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = signal.Signals(number)
        self.__exit__()
