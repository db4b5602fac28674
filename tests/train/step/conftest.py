"""Shared by the tests of the train step."""

import pytest

from flaxblocks.train.step import train_step
from tests.helpers.train_worker import QUICK


@pytest.fixture(autouse=True)
def _quick_compilation(request, monkeypatch):
    if "x64" in request.fixturenames:
        monkeypatch.setattr(train_step, "FOR_CPU", train_step.FOR_CPU | QUICK)
