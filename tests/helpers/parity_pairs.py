"""Pairs of modules for the command line's --pair: one that is equal, some that are not."""

import torch
from flax import nnx

import flaxblocks as fb


class TorchNet(torch.nn.Module):
    """A user's own module, with names of its own."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, stride=2, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )
        self.classifier = torch.nn.Linear(8, 5)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class FlaxNet(nnx.Module):
    """The same in plain NNX, under the same names."""

    def __init__(self, rngs: nnx.Rngs, epsilon: float = 1e-5):
        self.features = nnx.Sequential(
            fb.Conv(3, 8, 3, stride=2, rngs=rngs),
            fb.BatchNorm(8, epsilon=epsilon, rngs=rngs),
            nnx.relu,
        )
        self.classifier = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        return self.classifier(self.features(x).mean((1, 2)))


class RenamedFlaxNet(nnx.Module):
    """The same under other names."""

    def __init__(self, rngs: nnx.Rngs):
        self.stem = fb.ConvNormAct(3, 8, stride=2, rngs=rngs)
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        return self.head(self.stem(x).mean((1, 2)))


def make_torch():
    return TorchNet()


def make_flax():
    return FlaxNet(nnx.Rngs(0))


def make_flax_with_another_eps():
    return FlaxNet(nnx.Rngs(0), epsilon=1e-3)


def make_renamed_flax():
    return RenamedFlaxNet(nnx.Rngs(0))
