"""A module's modes, its loss in comparisons, and what it holds."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from torch import nn


def train_mode(module: nn.Module) -> None:
    """Switch to train mode, except for layers without state, which are the random ones."""
    module.train()
    for part in module.modules():
        owns = [*part.parameters(recurse=False), *part.buffers(recurse=False), *part.children()]
        if not owns:
            part.eval()


def modules_of(module: nn.Module) -> dict[str, nn.Module]:
    """Return the module and every one within it, by their paths."""
    return dict(cast(Iterable[tuple[str, nn.Module]], module.named_modules()))


def half_mean_square(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return half the mean square of ``output - target``: the loss of every comparison."""
    return (output - target).square().mean() / 2


def state_of(module: nn.Module) -> dict[str, np.ndarray]:
    """Return a private copy of the parameters and buffers, in PyTorch's layout."""
    return {
        name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()
    }


def with_dtype(module: nn.Module, dtype: str) -> nn.Module:
    """Return a copy of the module in ``"float32"`` or ``"float64"``, complex numbers of two."""
    real: torch.dtype = getattr(torch, dtype)

    def converted(value: torch.Tensor) -> torch.Tensor:
        if value.is_complex():
            return value.to(real.to_complex())
        return value.to(real) if value.is_floating_point() else value

    copy: Any = deepcopy(module)
    return copy._apply(converted)


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the module's real parameters, float32 where it has none."""
    real = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(real, torch.float32)
