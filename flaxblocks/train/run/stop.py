"""Ending a run from outside: the signals that ask for it."""

import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Notes that the process is asked to end, so that training can save first.

    As a context manager it takes the place of what SIGTERM and SIGINT did, for the first of them:
    the second one does what it did before.

    Of several processes any may get the signal, and all end at the same step: JAX's preemption
    service, which listens for SIGTERM since `jax.distributed.initialize`, has them agree on it.
    There, SIGINT is handed on as SIGTERM.

    Attributes:
        asked: the signal that came, or was agreed on; None before.
    """

    def __init__(self):
        self.asked: signal.Signals | None = None
        self._before = {}

    def reached(self, step: int) -> bool:
        """Return whether training is to end now.

        Args:
            step: number of steps so far; all processes must ask at each.

        Raises:
            RuntimeError: if there are several processes, and JAX's preemption service is disabled.
        """
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.asked = signal.SIGTERM
        return self.asked is not None

    def __enter__(self) -> "Stop":
        alone = jax.process_count() == 1
        wanted = dict.fromkeys(SIGNALS, self._note) if alone else {signal.SIGINT: _hand_on}
        self._before = {kind: signal.signal(kind, take) for kind, take in wanted.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, before in self._before.items():
            signal.signal(kind, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = signal.Signals(number)
        self.__exit__()


def _hand_on(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)
