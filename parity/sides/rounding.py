# pyright: reportUnknownMemberType=false
"""Float32's rounding, simulated in float64: how far any order of summing may be off.

What one float32 run errs is luck: it depends on the order in which a library sums, and that on the
width of the processor's vectors. Here PyTorch's float64 module runs with random errors where
float32 rounds, each as large as that of a sum taken one term after the other. They travel through
the layers as real ones do, so a layer that cancels, or a gate on few values, shows what it must.
In a train-mode step the gradients are off likewise on their way back.

A sum rounds each of its k partial sums ``s`` by ``u * s / sqrt(3)``, root mean square, with
``u = 2**-24``. Of terms of random sign that makes ``u * sqrt(k / 6)`` of the root of the sum of
their squares, of terms of one sign ``u * sqrt(k) / 3`` of the sum.

The errors are drawn `FRACTION` as large as that. So small, they only ever add up in proportion, and
carry no unit across an activation's kink, where its gradient would jump.

Source: Higham and Mary 2019, theorem 2.4: the square root of k, whatever the order.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from parity.checks.tolerance import bound

UNIT = 2.0**-24
FRACTION = 2.0**-10
_CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d
_TRANSPOSED = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d


class Rounding:
    """While open, every module's output has `FRACTION` of the error that float32 would give it.

    Args:
        module: a float64 module; it is changed while this is open.
        seed: where the random numbers come from.
    """

    def __init__(self, module: nn.Module, seed: int):
        self.random = torch.Generator().manual_seed(seed)
        self.pixels = 1  # of the last image, which a vector's means were taken over
        self.handles: list[RemovableHandle] = []
        for part in module.modules():
            self.handles.append(part.register_forward_pre_hook(self._round_means))
            self.handles.append(part.register_forward_hook(self._round))

    def __enter__(self) -> None:
        """Nothing more to do: the hooks are in place."""

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _round_means(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Round the first vector after an image: each value is a mean over its pixels."""
        x = inputs[0] if inputs else None
        if not isinstance(x, torch.Tensor):
            return None
        pixels = x.shape[2:].numel() if x.ndim == 4 else 1
        if pixels > 1:
            self.pixels = pixels
        if pixels > 1 or self.pixels == 1 or not _sums(module):
            return None
        size = (self.pixels / 6) ** 0.5 * torch.hypot(x, x.square().mean().sqrt())
        self.pixels = 1
        return (self._off(x, size), *inputs[1:])

    def _round(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, torch.Tensor):
            return output
        if not (output.is_floating_point() or output.is_complex()):
            return output
        terms = 1
        size = output.detach().abs() / 3**0.5
        if inputs and _sums(module):
            terms = _terms(module)
            random_sign = (terms / 6) ** 0.5 * _root_of_squares(module, inputs)
            size = torch.hypot(random_sign, terms**0.5 / 3 * output.detach())
        rounded = self._off(output, size)
        if rounded.requires_grad:
            rounded.register_hook(partial(self._round_gradient, terms))
        return rounded

    def _round_gradient(self, terms: int, gradient: torch.Tensor) -> torch.Tensor:
        """Round a gradient, which is taken for a sum of as many terms as the layer's output."""
        size = (terms / 6) ** 0.5 * torch.hypot(gradient, gradient.square().mean().sqrt())
        return self._off(gradient, size)

    def _off(self, x: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(x.shape, generator=self.random, dtype=x.dtype)
        return x + FRACTION * UNIT * size.detach() * noise


def _sums(module: nn.Module) -> bool:
    """Return whether a module is a convolution or a linear layer."""
    return isinstance(module, (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED))


def _terms(module: nn.Module) -> int:
    """Return how many products are summed, at most, in each number that a layer gives."""
    weight: Any = module.weight
    if isinstance(module, _TRANSPOSED):
        return weight[:, 0].numel() // module.groups
    return weight[0].numel()


@torch.no_grad()
def _root_of_squares(module: nn.Module, inputs: tuple[Any, ...]) -> torch.Tensor:
    """Return the root of the sum of the squared products that make up each output."""
    kept = {name: parameter.data for name, parameter in module.named_parameters(recurse=False)}
    for name, parameter in module.named_parameters(recurse=False):
        squares = kept[name].square()
        parameter.data = squares if name == "weight" else torch.zeros_like(squares)
    squared = module.forward(inputs[0].square(), *inputs[1:])  # without the hooks
    for name, parameter in module.named_parameters(recurse=False):
        parameter.data = kept[name]
    return squared.clamp(min=0).sqrt()


@torch.no_grad()
def round_parameters(module: nn.Module, random: np.random.Generator) -> None:
    """Move every parameter by what the rounding of a run may come to, up or down, in place."""
    for parameter in module.parameters():
        parameter.copy_(moved(parameter, random))


def moved(x: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Return numbers that are off, up or down, by what the rounding of a run may come to."""
    signs = torch.from_numpy(random.choice([-1.0, 1.0], tuple(x.shape)))
    return x * (1 + bound("float64", "depth") * 2.0**-52 * signs.to(x.device))
