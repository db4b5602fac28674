"""Shared by the tests of the train step."""

import pytest

from flaxblocks.train.step import train_step


@pytest.fixture(autouse=True)
def _quick_compilation(request, monkeypatch):
    """Leave out LLVM's optimizations in float64, which is tested for what it means."""
    if "x64" in request.fixturenames:
        options = train_step.FOR_CPU | {"xla_backend_optimization_level": 0}
        monkeypatch.setattr(train_step, "FOR_CPU", options)
