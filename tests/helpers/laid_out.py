"""A network and its port, whose tensors are laid out otherwise or are parts of others."""

import jax.numpy as jnp
import torch
from flax import nnx
from torch import nn


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


class Port(nnx.Module):
    """The same in Flax, whose attention is split into heads; a 1x1 convolution is linear."""

    def __init__(self, rngs: nnx.Rngs):
        self.attend = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(6))
        self.linear = nnx.Linear(6, 4, rngs=rngs)
        self.wider = nnx.ConvTranspose(4, 5, (2, 2), (2, 2), padding="VALID", rngs=rngs)
        self.act = nnx.PReLU()
        self.out = nnx.Linear(160, 3, rngs=rngs)

    def __call__(self, x):
        x = x + self.scale * self.attend(x.reshape(2, 8, 6)).reshape(x.shape)
        return self.out(self.act(self.wider(self.linear(x))).reshape(2, -1))


def make_torch():
    return TorchNet()


def make_flax():
    return Port(nnx.Rngs(0))


def make_input():
    return torch.randn(2, 4, 2, 6, generator=torch.Generator().manual_seed(0)).numpy()


_ROWS = {"query": "[0:6]", "key": "[6:12]", "value": "[12:18]"}
NAMES = {
    **{f"attention.in_proj_weight{rows}": f"attend.{n}.weight" for n, rows in _ROWS.items()},
    **{f"attention.in_proj_bias{rows}": f"attend.{n}.bias" for n, rows in _ROWS.items()},
    "attention.out_proj": "attend.out",
    "gamma": "scale",
    "mix": "linear",
    "up": "wider",
    "slope": "act",
    "head.weight": {"name": "out.weight", "reshape": [3, 5, 8, 4], "transpose": [0, 2, 3, 1]},
    "head.bias": "out.bias",
}
