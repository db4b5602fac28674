"""Which tensor is which is found out, whatever the port calls it and in whatever order."""

import json

import numpy as np
import pytest
import torch.nn.functional as F
from flax import nnx
from torch import nn

import flaxblocks as fb
from parity import compare, find_names

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 8, 6, 3)).astype(np.float32)


class Block(nn.Module):
    """Two branches of one shape, whose sum a classifier reads."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.main = nn.Conv2d(6, 6, 3, padding=1)
        self.shortcut = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.main(x)) + self.shortcut(x)
        return self.fc(x.mean((2, 3)))


class Port(nnx.Module):
    """The port of someone else, who reads the shortcut first."""

    def __init__(self, rngs: nnx.Rngs):
        self.head = nnx.Linear(6, 5, rngs=rngs)
        self.bypass = fb.Conv(6, 6, 3, rngs=rngs)
        self.conv_a = fb.Conv(3, 6, 3, use_bias=False, rngs=rngs)
        self.bn_a = fb.BatchNorm(6, rngs=rngs)
        self.conv_b = fb.Conv(6, 6, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.bn_a(self.conv_a(x)))
        skipped = self.bypass(x)
        return self.head((nnx.relu(self.conv_b(x)) + skipped).mean((1, 2)))


FOUND = {
    "stem.0.weight": "conv_a.weight",
    "stem.1.running_var": "bn_a.running_var",
    "main.weight": "conv_b.weight",
    "main.bias": "conv_b.bias",
    "shortcut.bias": "bypass.bias",
    "fc.weight": "head.weight",
}


def test_names_are_found_by_order_shape_and_agreement():
    names = find_names(Block(), Port(nnx.Rngs(0)), X)
    assert FOUND.items() <= names.items()
    assert len(names) == len(Block().state_dict())


def test_found_names_can_be_saved_and_handed_back():
    theirs, ours = Block(), Port(nnx.Rngs(0))
    report = compare(theirs, ours, X, names="found", checks=["names", "float64"])
    assert report.ok, str(report)
    saved = json.loads(json.dumps(report.names))
    assert saved == find_names(theirs, ours, X)
    assert compare(theirs, ours, X, names=saved, checks=["names"]).ok


def test_a_fault_is_found_under_found_names():
    ours = Port(nnx.Rngs(0))
    ours.bn_a.epsilon = 1e-3
    (found,) = compare(Block(), ours, X, names="found", checks=["float64"]).causes
    assert "first divergence at bn_a in eval mode: eps: JAX adds 0.001" in found


def test_a_norm_without_a_counter_has_another_name():
    class Norm(nnx.Module):
        def __init__(self):
            self.bn = nnx.BatchNorm(3, momentum=0.9, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.bn(x)

    theirs = nn.Sequential(nn.BatchNorm2d(3))
    report = compare(theirs, Norm(), X, names="found", checks=["names", "float64"])
    assert report.ok, str(report)
    assert report.names["0.running_mean"] == "bn.running_mean"
