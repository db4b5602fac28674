"""Interleaved timing, so that a disturbance hits all contestants alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Protocol, runtime_checkable

import numpy as np

ROUNDS = 7  # at least; the median of fewer moves too much
BURST = 0.1  # seconds of one contestant at a time
MOST_CALLS = 20  # in a burst
REST = 0.05  # seconds: ONNX Runtime's threads spin for 0.04 after a call, PyTorch's for 0.01


@runtime_checkable
class Racer(Protocol):
    """A callable that can be timed."""

    name: str

    def time(self, calls: int) -> list[float]:
        """Return the seconds of each of so many calls, or their mean, after some not counted."""
        ...


@dataclass(frozen=True)
class Spread:
    """One contestant's measured times."""

    seconds: float  # the median of all calls
    low: float  # the first quartile
    high: float  # the third quartile
    fastest: float  # the least
    calls: int  # how many were timed


def race(
    racers: Sequence[Racer], seconds: float, on_round: Callable[[float], None] = lambda _: None
) -> dict[str, Spread]:
    """Time the racers in turns, a few calls each, another one beginning each round.

    Args:
        racers: they are warm already.
        seconds: how long to go on for each of them; there are `ROUNDS` rounds at least.
        on_round: called after each round with the fraction that is done.
    """
    calls = {racer.name: _calls(min(racer.time(2))) for racer in racers}
    measured: dict[str, list[float]] = {racer.name: [] for racer in racers}
    started, done = perf_counter(), 0
    fraction = 0.0
    while fraction < 1:
        first = done % len(racers)
        for racer in (*racers[first:], *racers[:first]):
            sleep(REST)
            measured[racer.name] += racer.time(calls[racer.name])
        done += 1
        spent = (perf_counter() - started) / (seconds * len(racers))
        fraction = min(spent, done / ROUNDS)
        on_round(min(fraction, 1.0))
    return {name: _spread(times) for name, times in measured.items()}


def _calls(seconds: float) -> int:
    return max(1, min(MOST_CALLS, int(BURST / seconds)))


def _spread(times: Sequence[float]) -> Spread:
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high), min(times), len(times))
