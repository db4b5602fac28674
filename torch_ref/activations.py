"""PyTorch's activation functions under the names that flaxblocks uses."""

from functools import partial

import torch
from torch.nn.functional import gelu as gelu
from torch.nn.functional import hardswish as hard_swish
from torch.nn.functional import leaky_relu as leaky_relu
from torch.nn.functional import relu as relu
from torch.nn.functional import relu6 as relu6
from torch.nn.functional import sigmoid as sigmoid
from torch.nn.functional import silu as silu

__all__ = [
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_swish",
    "leaky_relu",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
]

gelu_tanh = partial(gelu, approximate="tanh")


def hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """Return ``relu6(x + 3) / 6``.

    `torch.nn.functional.hardsigmoid` has the same values and bends at the same numbers, but its
    gradient in float64 is off by 3e-8: it multiplies by a sixth rounded to float32.
    """
    return torch.where(x <= -3, 0, torch.where(x >= 3, 1, (x + 3) / 6))
