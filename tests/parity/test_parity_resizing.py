"""Each way to resize is told from PyTorch's and called by its name."""

import jax
import numpy as np
import pytest
import torch.nn.functional as F
from flax import nnx
from torch import nn

from parity import compare

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 9, 12, 3)).astype(np.float32)
KEYS = "bicubic (a = -0.5) with half-pixel centers"
PLAIN = "bilinear with half-pixel centers"


class Resized(nn.Module):
    """A convolution, a resize, a convolution."""

    def __init__(self, size, **options):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
        self.size, self.options = size, options

    def forward(self, x):
        return self.last(F.interpolate(self.first(x), size=self.size, **self.options))


class Port(nnx.Module):
    """The same by `jax.image`."""

    def __init__(self, size, method, antialias):
        self.first = nnx.Conv(3, 4, (1, 1), rngs=nnx.Rngs(0))
        self.last = nnx.Conv(4, 2, (1, 1), rngs=nnx.Rngs(0))
        self.size, self.method, self.antialias = size, method, antialias

    def __call__(self, x):
        x = self.first(x)
        shape = (x.shape[0], *self.size, x.shape[3])
        return self.last(jax.image.resize(x, shape, self.method, antialias=self.antialias))


def found(options, method, antialias, size):
    checks = ("names", "float64")
    return compare(Resized(size, **options), Port(size, method, antialias), X, checks=checks).causes


@pytest.mark.parametrize(
    ("options", "method", "antialias", "size", "theirs", "ours"),
    [
        ({"mode": "bicubic"}, "cubic", True, (15, 18), "bicubic (a = -0.75) with half-pi", KEYS),
        ({"mode": "bicubic"}, "cubic", False, (6, 7), "bicubic (a = -0.75) with half-pix", KEYS),
        (
            {"mode": "bicubic", "antialias": True},
            *("cubic", False, (6, 7), "bicubic (a = -0.5) with antialiasing", KEYS),
        ),
        (
            {"mode": "bicubic"},
            *("cubic", True, (6, 7), "bicubic (a = -0.75) with half-pixel centers"),
            "bicubic (a = -0.5) with antialiasing",
        ),
        ({"mode": "bilinear"}, "cubic", True, (15, 18), PLAIN, KEYS),
        ({"mode": "bicubic"}, "bilinear", True, (15, 18), "bicubic (a = -0.75) with hal", PLAIN),
    ],
)
def test_a_cubic_is_called_by_its_number(options, method, antialias, size, theirs, ours):
    (cause,) = found(options, method, antialias, size)
    assert f"resizing: JAX takes {ours}, PyTorch {theirs}" in cause, cause


@pytest.mark.parametrize(("antialias", "size"), [(False, (15, 18)), (True, (6, 7))])
def test_the_same_cubic_is_no_difference(antialias, size):
    assert not found({"mode": "bicubic", "antialias": True}, "cubic", antialias, size)
