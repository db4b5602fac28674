"""Tensors that are laid out otherwise, or are parts of others, are found and named."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch.nn.functional as F
from flax import nnx
from torch import nn

from parity import compare, find_names
from tests.helpers.laid_out import Port, TorchNet

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 4, 2, 6)).astype(np.float32)
CHECKS = ("names", "float64", "gradients")


def test_what_is_laid_out_otherwise_is_found_saved_and_handed_back():
    theirs, ours = TorchNet(), Port(nnx.Rngs(0))
    names = json.loads(json.dumps(find_names(theirs, ours, X)))
    assert names["attention.in_proj_weight[6:12]"] == "attend.key.weight"
    assert names["gamma"] == "scale"
    assert names["mix.weight"] == "linear.weight"
    assert names["head.weight"]["transpose"] == [0, 2, 3, 1]
    report = compare(theirs, ours, X, names=names, checks=CHECKS)
    assert report.ok, str(report)
    assert report.names == names


class Split(nn.Module):
    """Attention whose projections are three layers."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        return F.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))


def fused(params, x):
    """The same in one product."""
    q, k, v = jnp.split(x @ params["qkv"]["w"].T + params["qkv"]["b"], 3, -1)
    return jax.nn.softmax(q @ k.swapaxes(-1, -2) / 6**0.5) @ v


def test_several_tensors_may_be_one():
    port = fused, {"qkv": {"w": np.ones((18, 6)), "b": np.ones(18)}}
    report = compare(Split(), port, X.reshape(2, 8, 6), names="found", checks=CHECKS)
    assert report.ok, str(report)
    assert report.names["v.bias"] == {"name": "qkv.bias", "rows": [12, 18]}


def haiku(params, x):
    """A network whose kernels have their first axes last."""
    dims = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, params["a"]["w"], (1, 1), "SAME", dimension_numbers=dims)
    return (x + params["a"]["b"]).mean((1, 2)) @ params["b"]["w"] + params["b"]["b"]


class Convolved(nn.Module):
    """The same."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(6, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))


def test_kernels_that_are_turned_are_found():
    params = {
        "a": {"w": np.ones((3, 3, 6, 4)), "b": np.ones(4)},
        "b": {"w": np.ones((4, 4)), "b": np.ones(4)},
    }
    report = compare(Convolved(), (haiku, params), X, names="found", checks=CHECKS)
    assert report.ok, str(report)
    assert report.names["fc.weight"] == {"name": "b.weight", "transpose": [1, 0]}


class Flattened(nn.Module):
    """A convolution, and linear layers of the flattened image, as VGG has them."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc, self.head = nn.Conv2d(6, 3, 1), nn.Linear(24, 5), nn.Linear(5, 5)

    def forward(self, x):
        return self.head(F.relu(self.fc(self.conv(x).flatten(1))))


class Convolutions(nnx.Module):
    """The same by convolutions over the whole image."""

    def __init__(self, padding):
        rngs = nnx.Rngs(0)
        self.a = nnx.Conv(6, 3, (1, 1), rngs=rngs)
        self.b = nnx.Conv(3, 5, (4, 2), padding=padding, rngs=rngs)
        self.c = nnx.Conv(5, 5, (1, 1), rngs=rngs)

    def __call__(self, x):
        return self.c(nnx.relu(self.b(self.a(x)))).mean((1, 2))


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_a_linear_layer_may_be_a_convolution_over_the_image(padding):
    names = find_names(Flattened(), Convolutions(padding), X)
    assert names["fc.weight"] == {"name": "b.weight", "reshape": [5, 3, 4, 2]}
    report = compare(Flattened(), Convolutions(padding), X, names=names, checks=CHECKS)
    assert report.ok is (padding == "VALID"), str(report)
    found = [
        "first divergence at b in eval mode: padding: JAX applies the weights as a convolution",
        "then at c in eval mode: pooling: JAX averages over positions, of which PyTorch has one",
    ]
    assert len(report.causes) == (0 if report.ok else len(found))
    assert all(map(str.startswith, report.causes, found))
