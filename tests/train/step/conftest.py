"""Shared by the tests of the train step."""

import pytest

from flaxblocks.train.step import train_step
from tests.helpers.train_worker import QUICK


@pytest.fixture(autouse=True)
def _quick_compilation(request, monkeypatch):
    # The slow tests take many steps, whose time is worth the compilation.
    if "x64" in request.fixturenames and not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(train_step, "FOR_CPU", train_step.FOR_CPU | QUICK)
