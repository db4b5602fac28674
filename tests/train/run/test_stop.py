"""How several processes end together; test_loop.py and test_survival.py have the rest."""

import signal

import jax
import pytest
from jax.experimental import multihost_utils

from flaxblocks.train.run.stop import Stop


@pytest.fixture
def two_processes(monkeypatch) -> None:
    """Make JAX say that there are two, which agree to end after step 7."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", lambda step: step == 7)


def test_processes_end_at_the_step_they_agree_on(two_processes):
    with Stop() as stop:
        assert [stop.reached(step) for step in (6, 7)] == [False, True]
    assert stop.asked is signal.SIGTERM


def test_processes_hand_sigint_on_and_leave_sigterm_to_jax(two_processes):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.reached(1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
