"""Two mistakes in a row, of which neither shows where the other is not mended, are both named."""

from collections import OrderedDict

import jax
import numpy as np
import pytest
from flax import nnx
from torch import nn

import flaxblocks as fb
from parity import compare

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 24, 22, 3)).astype(np.float32)
POOLED = "at pool in eval mode: padding: JAX pads the pooling as TensorFlow's SAME, unevenly;"


def stem(pool, act):
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(3, 8, 3, padding=1),
        norm=nn.BatchNorm2d(8),
        act=act,
        pool=pool,
        head=nn.Conv2d(8, 5, 3, padding=1),
        last=nn.ReLU(),
    )
    return nn.Sequential(layers)


class Port(nnx.Module):
    """A stem that pools as TensorFlow does."""

    def __init__(self, pool, act):
        one = [(1, 1), (1, 1)]
        self.conv = nnx.Conv(3, 8, (3, 3), padding=one, rngs=nnx.Rngs(0))
        self.norm = fb.BatchNorm(8, rngs=nnx.Rngs(0))
        self.head = nnx.Conv(8, 5, (3, 3), padding=one, rngs=nnx.Rngs(0))
        self.pool, self.act = pool, act

    def __call__(self, x):
        x = self.act(self.norm(self.conv(x)))
        return nnx.relu(self.head(self.pool(x, (3, 3), (2, 2), "SAME")))


def found(torch_module, port):
    return compare(torch_module, port, X, checks=("names", "float64")).causes


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda x: x, "missing activation: JAX applies none, PyTorch silu"),
        (jax.nn.tanh, "activation: JAX applies tanh, PyTorch silu"),
    ],
)
def test_an_activation_before_another_pooling_is_found(act, text):
    first, second = found(stem(nn.MaxPool2d(3, 2, 1), nn.SiLU()), Port(nnx.max_pool, act))
    assert f"first divergence at act in eval mode: {text}" in first
    assert POOLED in second


def test_the_pooling_alone_is_one_mistake():
    (text,) = found(stem(nn.MaxPool2d(3, 2, 1), nn.SiLU()), Port(nnx.max_pool, jax.nn.silu))
    assert f"first divergence {POOLED}" in text


@pytest.mark.parametrize("counted", [True, False])
def test_an_average_that_pads_unevenly_says_what_it_counts(counted):
    def pool(x, *window):
        return nnx.avg_pool(x, *window, count_include_pad=counted)

    pooled = nn.AvgPool2d(3, 2, 1)
    (text,) = found(stem(pooled, nn.SiLU()), Port(pool, jax.nn.silu))
    assert f"first divergence {POOLED} PyTorch by 1" in text
    assert ("and counts the padding" in text) == counted
