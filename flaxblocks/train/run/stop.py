# pyright: reportUnknownMemberType=false
"""Stopping a run by a signal, after a checkpoint."""

import signal
from types import FrameType

import jax

from flaxblocks._base.jax_internals import processes_are_to_stop

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Records a signal that asks the process to end, so that training can save first.

    As a context manager it handles the first SIGTERM or SIGINT; the second has its former effect.

    Of several processes any may get the signal, and all stop at the same step, on which JAX's
    preemption service lets them agree. It listens for SIGTERM since `jax.distributed.initialize`;
    SIGINT is forwarded to it as SIGTERM.

    Attributes:
        asked: the signal that was received, or agreed on; None before.
    """

    def __init__(self):
        self.asked: signal.Signals | None = None
        self._before = {}

    def reached(self, step: int) -> bool:
        """Return whether training is to stop now.

        Args:
            step: number of steps so far; all processes must call this at each step.

        Raises:
            RuntimeError: if there are several processes, and JAX's preemption service is disabled.
        """
        if jax.process_count() > 1 and processes_are_to_stop(step):
            self.asked = signal.SIGTERM
        return self.asked is not None

    def __enter__(self) -> "Stop":
        alone = jax.process_count() == 1
        wanted = dict.fromkeys(SIGNALS, self._note) if alone else {signal.SIGINT: _forward}
        self._before = {kind: signal.signal(kind, take) for kind, take in wanted.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, before in self._before.items():
            signal.signal(kind, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = signal.Signals(number)
        self.__exit__()


def _forward(number: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)
