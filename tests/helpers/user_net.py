"""A user's network in PyTorch and its port to Flax, with every kind of operation that ports miss.

The port keeps whatever may go wrong as an attribute, so that a test plants a fault by one
assignment.
"""

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import nnx
from torch import nn

import flaxblocks as fb

SHAPE = (3, 12, 10, 3)
HEADS = 2


class TorchNet(nn.Module):
    """A stem, a mixing stage with attention, a decoder, a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.group_norm = nn.GroupNorm(4, 8)
        self.twin = nn.Conv2d(8, 8, 3, padding=1)
        self.twin_norm = nn.BatchNorm2d(8)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.down = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.layer_norm = nn.LayerNorm(6)
        self.qkv = nn.Linear(6, 18)
        self.project = nn.Linear(6, 6)
        self.rms_norm = nn.RMSNorm(6, eps=1e-6)
        self.mlp = nn.Linear(6, 6)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(54, 7)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = F.max_pool2d(x - 1.0, 3, 1, 1)
        x = F.gelu(self.group_norm(self.wide(x)))
        x = x + self.scale * F.hardswish(self.twin_norm(self.twin(x)))
        x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = F.leaky_relu(self.up(x), 0.1)
        x = F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=False)
        x = F.interpolate(x, size=(12, 12), mode="bilinear", antialias=True)
        x = F.hardsigmoid(self.down(x))
        x = F.interpolate(x, size=(3, 3), mode="nearest-exact")
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attend(self.layer_norm(tokens))
        tokens = tokens + self.mlp(self.rms_norm(tokens))
        x = self.dropout(tokens.transpose(1, 2).reshape(n, c * h * w))
        return self.head(x)

    def attend(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (c // HEADS) ** -0.5).softmax(-1)
        return self.project((weights @ v).transpose(1, 2).reshape(n, t, c))


class Transposed(nnx.Module):
    """A transposed convolution whose kernel is kept as PyTorch's: (in, out, h, w)."""

    def __init__(self, rngs: nnx.Rngs):
        self.weight = nnx.Param(rngs.params.normal((8, 6, 2, 2)))
        self.bias = nnx.Param(jnp.zeros(6))
        self.mirrored = True

    def __call__(self, x):
        kernel = self.weight[...].transpose(2, 3, 0, 1)
        kernel = kernel[::-1, ::-1] if self.mirrored else kernel
        y = jax.lax.conv_transpose(x, kernel, (2, 2), "VALID")
        return y + self.bias[...]


class RMSNorm(nnx.Module):
    """RMSNorm under PyTorch's name of its scale."""

    def __init__(self, features: int):
        self.weight = nnx.Param(jnp.ones(features))
        self.epsilon = 1e-6

    def __call__(self, x):
        square = jnp.mean(jnp.square(x), -1, keepdims=True)
        return x / jnp.sqrt(square + self.epsilon) * self.weight[...]


def max_pool(x, low=-jnp.inf):
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=low)
    return nnx.max_pool(x, (3, 3), (1, 1), "VALID")


def average_pool(x, counts=False):
    return nnx.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=counts)


def resize(x, size, antialias=True, method="bilinear"):
    shape = (x.shape[0], *size, x.shape[-1])
    return jax.image.resize(x, shape, method, antialias=antialias)


def grow(x):
    return resize(x, (x.shape[1] * 3 // 2, x.shape[2] * 3 // 2))


def shrink(x):
    return resize(x, (12, 12))


def pick(x):
    return resize(x, (3, 3), method="nearest")


def scores(q, k):
    return jnp.einsum("nhtc,nhsc->nhts", q, k) * q.shape[-1] ** -0.5


def to_rows(x):
    """Flatten tokens (n, t, c) as PyTorch flattens (n, c, h, w)."""
    return x.swapaxes(1, 2).reshape(x.shape[0], -1)


class FlaxNet(nnx.Module):
    """The port."""

    def __init__(self, rngs: nnx.Rngs, norm=fb.BatchNorm):
        one = [(1, 1), (1, 1)]
        self.stem = nnx.Conv(3, 8, (3, 3), 2, padding=one, rngs=rngs)
        self.norm = norm(8, rngs=rngs)
        self.wide = nnx.Conv(
            8,
            8,
            (3, 3),
            padding=[(2, 2), (2, 2)],
            kernel_dilation=2,
            feature_group_count=2,
            rngs=rngs,
        )
        self.group_norm = nnx.GroupNorm(8, 4, epsilon=1e-5, rngs=rngs)
        self.twin = nnx.Conv(8, 8, (3, 3), padding=one, rngs=rngs)
        self.twin_norm = norm(8, rngs=rngs)
        self.scale = nnx.Param(jnp.ones((8, 1, 1)))
        self.up = Transposed(rngs)
        self.down = nnx.Conv(6, 6, (3, 3), 2, padding=one, rngs=rngs)
        self.layer_norm = nnx.LayerNorm(6, epsilon=1e-5, rngs=rngs)
        self.qkv = nnx.Linear(6, 18, rngs=rngs)
        self.project = nnx.Linear(6, 6, rngs=rngs)
        self.rms_norm = RMSNorm(6)
        self.mlp = nnx.Linear(6, 6, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(54, 7, rngs=rngs)
        self.relu, self.gelu = nnx.relu, lambda x: nnx.gelu(x, approximate=False)
        self.hard_swish, self.hard_sigmoid = nnx.hard_swish, nnx.hard_sigmoid
        self.leaky = lambda x: nnx.leaky_relu(x, 0.1)
        self.max_pool, self.average_pool = max_pool, average_pool
        self.grow, self.shrink, self.pick = grow, shrink, pick
        self.scores, self.axis, self.to_rows = scores, -1, to_rows
        self.layer_scale, self.residual = (lambda x, scale: x * scale), (lambda x, y: x + y)
        self.activate = lambda norm, act, x: act(norm(x))
        self.last = "project", "mlp"
        self.read = lambda logits: logits

    def __call__(self, x):
        x = self.activate(self.norm, self.relu, self.stem(x))
        x = self.max_pool(x - 1.0)
        x = self.gelu(self.group_norm(self.wide(x)))
        branch = self.hard_swish(self.twin_norm(self.twin(x)))
        x = self.residual(x, self.layer_scale(branch, self.scale[:, 0, 0]))
        x = self.average_pool(x)
        x = self.leaky(self.up(x))
        x = self.shrink(self.grow(x))
        x = self.pick(self.hard_sigmoid(self.down(x)))
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        tokens = tokens + self.attend(self.layer_norm(tokens))
        tokens = tokens + getattr(self, self.last[1])(self.rms_norm(tokens))
        return self.read(self.head(self.dropout(self.to_rows(tokens))))

    def attend(self, x):
        n, t, c = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, HEADS, c // HEADS).transpose(2, 0, 3, 1, 4)
        weights = jax.nn.softmax(self.scores(qkv[0], qkv[1]), self.axis)
        mixed = jnp.einsum("nhts,nhsc->nhtc", weights, qkv[2])
        return getattr(self, self.last[0])(mixed.swapaxes(1, 2).reshape(n, t, c))
