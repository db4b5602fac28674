"""Training that rounding alone leads elsewhere is compared for as long as it tells something."""

import numpy as np
import pytest
from flax import nnx
from torch import nn

import flaxblocks as fb
from parity import compare
from parity.checks import trajectory

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
DEPTH = 40  # norms over three rows, each of which amplifies what is before it


@pytest.mark.parametrize("momentum", [0.9, pytest.param(0.95, marks=pytest.mark.slow)])
def test_chaotic_training_is_compared_for_its_first_steps(momentum, monkeypatch):
    monkeypatch.setattr(trajectory, "OPTIMIZERS", trajectory.OPTIMIZERS[:1])
    rngs = nnx.Rngs(0)
    theirs, ours = [], []
    for _ in range(DEPTH):
        theirs += [nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()]
        norm = fb.BatchNorm(8, momentum=momentum, rngs=rngs)
        ours += [nnx.Linear(8, 8, rngs=rngs), norm, nnx.relu]
    report = compare(nn.Sequential(*theirs), nnx.Sequential(*ours), X, checks=["trajectory"])
    loss, state = report.of("trajectory")
    assert loss.ok and state.ok is (momentum == 0.9)
    assert ("after which rounding alone leads" in loss.detail) is state.ok


def test_training_that_explodes_is_compared_for_its_first_steps(monkeypatch):
    monkeypatch.setattr(trajectory, "OPTIMIZERS", trajectory.OPTIMIZERS[:1])
    rngs = nnx.Rngs(0)
    theirs = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    ours = nnx.Sequential(nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs))
    report = compare(theirs, ours, 30 * X, checks=["trajectory"])
    loss, state = report.of("trajectory")
    assert loss.ok and state.ok and "after which rounding alone leads" in loss.detail


class TorchSpare(nn.Module):
    """A layer, and another that is not called."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.used(x)


class FlaxSpare(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.used, self.spare = nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, x):
        return self.used(x)


def test_a_layer_that_is_not_called_decays_on_both_sides():
    report = compare(TorchSpare(), FlaxSpare(), X, checks=["trajectory"])
    assert report.ok, str(report)
