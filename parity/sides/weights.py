# pyright: reportUnknownMemberType=false
"""The weights that comparisons run with: random ones, and ones with which nothing rounds."""

from typing import cast

import numpy as np
import torch
from torch import nn

from flaxblocks._base.random_weights import random_tensor

BATCH_NORM = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage]
"""PyTorch's base of all that keep statistics."""

TERMS = 4  # nonzero weights per output of a dyadic kernel


def held_by(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Return what a state dict of the module holds; its other buffers are constants."""
    held = module.state_dict(keep_vars=True)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return [(name, value) for name, value in tensors if name in held]


@torch.no_grad()
def randomize(module: nn.Module, rng: np.random.Generator, gain: float = 1.0) -> None:
    """Give the module random weights and random statistics, in place.

    Values are float32 numbers, whatever the module's dtype, so that every precision computes
    the same function. The gain is that of `random_tensor`.
    """
    for name, value in held_by(module):
        if value.is_floating_point() or name.endswith("num_batches_tracked"):
            value.copy_(torch.from_numpy(random_tensor(name, tuple(value.shape), rng, gain=gain)))


@torch.no_grad()
def make_dyadic(module: nn.Module, rng: np.random.Generator) -> None:
    """Give the module weights with which every intermediate is a short binary fraction, in place.

    Kernels hold a few entries of plus or minus 1, everything else is a multiple of a small power
    of two, and ``var + eps`` is a power of four *in the module's own precision*, so that its root
    is a power of two. Sums of such numbers do not round, in whatever order they are taken.
    """
    norms = {id(m.running_var): m.eps for m in module.modules() if isinstance(m, BATCH_NORM)}
    for name, value in held_by(module):
        shape, leaf = tuple(value.shape), name.rpartition(".")[2]
        if not value.is_floating_point():
            continue
        if id(value) in norms:
            eps = torch.tensor(norms[id(value)], dtype=value.dtype)
            _fill(value, 4.0 ** rng.integers(0, 2, shape))
            value -= eps
        elif value.ndim >= 2:
            _fill(value, _sparse_ternary(shape, rng))
        elif leaf == "weight":
            _fill(value, rng.choice([-1.0, 1.0], shape) * 2.0 ** -rng.integers(0, 2, shape))
        else:
            _fill(value, rng.integers(-4, 5, shape) / 8)


def dyadic_input(x: np.ndarray, bits: int) -> np.ndarray:
    """Return `x` rounded to this many bits of its own range, which is taken as a power of two."""
    top = float(np.abs(x).max()) or 1.0
    step = 2.0 ** (np.ceil(np.log2(top)) - bits)
    return cast(np.ndarray, np.round(x / step) * step)


def _sparse_ternary(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    outputs, fan_in = shape[0], int(np.prod(shape[1:]))
    kernel = np.zeros((outputs, fan_in))
    for row in kernel:
        chosen = rng.choice(fan_in, min(TERMS, fan_in), replace=False)
        row[chosen] = rng.choice([-1.0, 1.0], chosen.size)
    return kernel.reshape(shape)


def _fill(value: torch.Tensor, numbers: np.ndarray) -> None:
    value.copy_(torch.from_numpy(np.asarray(numbers, np.float32)))
