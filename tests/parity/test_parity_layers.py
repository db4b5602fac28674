"""Layers that few networks have: equal where they are ported well, and named where they are not."""

from collections import OrderedDict
from collections.abc import Callable
from functools import reduce

import jax.numpy as jnp
import numpy as np
import pytest
import torch.nn.functional as F
from flax import nnx
from torch import nn

from parity import compare
from parity.checks.tolerance import bound

pytestmark = pytest.mark.usefixtures("quick")

CHECKS = ("names", "float64", "gradients")
CUBE, LINE, IMAGE = (2, 6, 4, 8, 3), (2, 12, 3), (2, 8, 12, 3)


class Called(nn.Module):
    """A function as a PyTorch module."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Port(nnx.Module):
    """A convolution, an instance norm, and what follows."""

    def __init__(self, window, after, epsilon=1e-5):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 6, window, padding="SAME", rngs=rngs)
        self.norm = nnx.InstanceNorm(6, epsilon=epsilon, rngs=rngs)
        self.after = after

    def __call__(self, x):
        return self.after(self.norm(self.conv(x)))


def original(conv, norm, after):
    layers = OrderedDict[str, nn.Module](
        conv=conv(3, 6, 3, padding=1), norm=norm(6, affine=True), after=Called(after)
    )
    return nn.Sequential(layers)


def cube(after=lambda x: F.max_pool3d(x, 2)):
    return original(nn.Conv3d, nn.InstanceNorm3d, after)


def line(after):
    return original(nn.Conv1d, nn.InstanceNorm1d, after)


def image(after):
    return original(nn.Conv2d, nn.InstanceNorm2d, after)


def max_of_twos(x):
    n = x.ndim - 2
    return nnx.max_pool(x, (2,) * n, (2,) * n)


def mean_of_twos(x):
    n = x.ndim - 2
    return nnx.avg_pool(x, (2,) * n, (2,) * n)


def response(x, alpha=1e-4, beta=0.75):
    """Return x over its local response, among three channels."""
    squares = jnp.pad(jnp.square(x), [(0, 0)] * (x.ndim - 1) + [(1, 1)])
    mean = sum(squares[..., i : i + x.shape[-1]] for i in range(3)) / 3
    return x / (1 + alpha * mean) ** beta


def mean_of_blocks(x):
    """Return the means of an image of 8 by 12 pixels over 2 by 3 blocks."""
    return x.reshape(len(x), 2, 4, 3, 4, -1).mean((2, 4))


def max_of_blocks(x):
    return nnx.max_pool(x, (4, 4), (4, 4))


def greatest_of_blocks(x):
    """Return the same by `jnp.max`, whose gradient asks where the maxima are."""
    return jnp.max(x.reshape(len(x), 2, 4, 3, 4, -1), (2, 4))


def root_of_squares(x):
    return jnp.sqrt(4 * mean_of_twos(jnp.square(x)))


def apart(x):
    """Return max-pooling over three pixels that are two apart."""
    n = x.shape[1] - 4
    return reduce(jnp.maximum, [x[:, i : i + n] for i in (0, 2, 4)])[:, ::3]


@pytest.mark.parametrize(
    ("theirs", "window", "after", "shape"),
    [
        (cube(), (3, 3, 3), max_of_twos, CUBE),
        (cube(lambda x: F.avg_pool3d(x, 2)), (3, 3, 3), mean_of_twos, CUBE),
        (line(lambda x: F.avg_pool1d(x, 2)), (3,), mean_of_twos, LINE),
        (line(lambda x: F.max_pool1d(x, 3, dilation=2)), (3,), apart, LINE),
        (image(lambda x: F.local_response_norm(x, 3)), (3, 3), response, IMAGE),
        (image(lambda x: F.adaptive_avg_pool2d(x, (2, 3))), (3, 3), mean_of_blocks, IMAGE),
        (image(lambda x: F.adaptive_max_pool2d(x, (2, 3))), (3, 3), max_of_blocks, IMAGE),
        (image(lambda x: F.adaptive_max_pool2d(x, (2, 3))), (3, 3), greatest_of_blocks, IMAGE),
        (image(lambda x: F.lp_pool2d(x, 2.0, 2)), (3, 3), root_of_squares, IMAGE),
    ],
)
def test_a_port_is_equal(theirs, window, after, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    report = compare(theirs, Port(window, after), x, checks=CHECKS)
    assert report.ok, str(report)
    limits = {row.limit for row in report.of("gradients")}
    assert max(limits) == bound("float64", "gradient")  # the bias before the norm has gradient 0


@pytest.mark.parametrize(
    ("theirs", "port", "shape", "causes"),
    [
        (cube(), Port((3, 3, 3), max_of_twos, 1e-2), CUBE, ["norm in eval mode: eps: JAX adds"]),
        (cube(), Port((3, 3, 3), mean_of_twos), CUBE, ["after in eval mode: pooling: JAX takes"]),
        (
            image(lambda x: F.local_response_norm(x, 3)),
            Port((3, 3), lambda x: response(x, 1e-3)),
            IMAGE,
            ["after in eval mode: off by"],
        ),
    ],
)
def test_what_differs_is_placed(theirs, port, shape, causes):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = compare(theirs, port, x, checks=("names", "float64")).causes
    assert len(found) == len(causes), found
    assert all(cause in text for cause, text in zip(causes, found, strict=True)), found
