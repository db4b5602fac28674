"""Tensors that are laid out otherwise, or are parts of others, are found and named."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

from parity import compare, find_names

X = np.random.default_rng(0).normal(size=(2, 4, 2, 6)).astype(np.float32)
CHECKS = ("names", "float64", "gradients")


class TorchNet(nn.Module):
    """Fused attention, a scale with axes of its own, a classifier of a flattened image."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.gamma = nn.Parameter(torch.ones(6, 1, 1))
        self.mix = nn.Conv2d(6, 4, 1)
        self.up = nn.ConvTranspose2d(4, 5, 2, stride=2)
        self.slope = nn.PReLU()
        self.head = nn.Linear(5 * 8 * 4, 3)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        tokens, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        x = x + self.gamma * tokens.transpose(1, 2).reshape(x.shape)
        return self.head(self.slope(self.up(self.mix(x))).flatten(1))


def attention(query, key, value, **_):
    """Attention over axis 1; JAX's own computes its logits in float32 whatever it is given."""
    scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) / query.shape[-1] ** 0.5
    return jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), value)


class Port(nnx.Module):
    """The same in Flax, whose attention is split into heads; a 1x1 convolution is linear."""

    def __init__(self, rngs: nnx.Rngs):
        self.attend = nnx.MultiHeadAttention(2, 6, decode=False, attention_fn=attention, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(6))
        self.linear = nnx.Linear(6, 4, rngs=rngs)
        self.wider = nnx.ConvTranspose(4, 5, (2, 2), (2, 2), padding="VALID", rngs=rngs)
        self.act = nnx.PReLU()
        self.out = nnx.Linear(160, 3, rngs=rngs)

    def __call__(self, x):
        x = x + self.scale * self.attend(x.reshape(2, 8, 6)).reshape(x.shape)
        return self.out(self.act(self.wider(self.linear(x))).reshape(2, -1))


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
