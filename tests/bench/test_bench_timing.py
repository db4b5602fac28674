"""Who is timed when, and how many calls at once. Nothing is timed."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from flaxblocks.bench.sides.contestants import OURS, RIVALS
from flaxblocks.bench.tasks.task import Prepared, Task
from flaxblocks.bench.timing import process_memory, worker, workers
from flaxblocks.bench.timing.interleaved import ROUNDS, race
from flaxblocks.bench.timing.workers import Workers
from tests.helpers.bench_rivals import Here

LAX = RIVALS[0]
TASK = Task("resnet18", "infer", 2, 4, "float32", "cpu", 1)


class Counted:
    def __init__(self, name: str, seconds: float, order: list[str]):
        self.name, self.seconds, self.order = name, seconds, order

    def time(self, calls: int) -> list[float]:
        self.order.append(self.name)
        return [self.seconds] * calls


def test_a_race_takes_turns():
    order: list[str] = []
    racers = [Counted(name, 0.01 * place, order) for place, name in enumerate("abc", 1)]
    spreads = race(racers, seconds=1e-9)
    assert [spread.seconds for spread in spreads.values()] == [0.01, 0.02, 0.03]
    rounds = ["".join(order[i : i + 3]) for i in range(3, len(order), 3)]
    assert len(rounds) == ROUNDS and rounds[:4] == ["abc", "bca", "cab", "abc"]


def test_calls_are_counted_once_the_processors_are_awake(monkeypatch: pytest.MonkeyPatch):
    clock, calls = count(step=0.4 * worker.WARM), count()
    monkeypatch.setattr(worker, "perf_counter", lambda: next(clock))
    prepared = Prepared(run=lambda: next(calls), answer={})
    monkeypatch.setattr(worker, "_held", [worker._Held(prepared, True)])
    assert worker._time(2) == pytest.approx([0.4 * worker.WARM] * 2)
    assert next(calls) == 3 + 2


def test_an_accelerator_is_given_all_calls_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker, "WARM", 0)
    events: list[str] = []
    prepared = Prepared(
        run=lambda: events.append("run"), answer={}, wait=lambda _: events.append("wait")
    )
    for on_cpu, expected, times in ((True, ["run", "wait"] * 3, 2), (False, ["run", "wait"], 1)):
        events.clear()
        monkeypatch.setattr(worker, "_held", [worker._Held(prepared, on_cpu)])
        seconds = worker._time(2)
        assert len(seconds) == times
        assert events == (expected if on_cpu else [*expected, "run", "run", "wait"])


def test_processes_are_kept_on_accelerators_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "Worker", Here)
    for device, kept in (("cpu", False), ("gpu", True)):
        one = replace(TASK, device=device)
        with Workers() as staff:
            first, second = staff.of([OURS], one), staff.of([OURS, LAX], one)
            assert (first[0] is second[0]) == kept
            staff.end(second[0])
            assert staff.of([OURS], one)[0] is not second[0]


def _memory_with_half_of_128_mb_held() -> int | None:
    worker._settle()
    worker._imported.append(process_memory.resident())
    worker._held.append(worker._Held(Prepared(run=int, answer={}), True))
    arrays = [np.ones(1 << 13) for _ in range(2048)]  # 64 KB each
    del arrays[::2]
    worker._settle()
    return worker._memory()


@pytest.mark.skipif(process_memory.resident() is None, reason="the system does not tell")
def test_what_preparing_took_is_not_counted():
    # In a fresh process, as it is measured: here other tests' garbage could go in between.
    with worker.process(TASK) as fresh:
        memory = fresh.submit(_memory_with_half_of_128_mb_held).result()
    assert memory is not None
    assert memory >> 20 in range(60, 90)
