"""Where the two sides have their channels: PyTorch first, JAX last, except where they agree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

from parity.sides.calls import Input, arguments, inputs_of, is_float

IMAGES = 4  # axes from which an array has channels that move


@dataclass(frozen=True)
class Frame:
    """How a pair's inputs and outputs are laid out on the two sides.

    Args:
        inputs: whether channels move in an input, by name, where its axes do not say.
        outputs: the same of the outputs.
    """

    inputs: Mapping[str, bool] = field(default_factory=dict[str, bool])
    outputs: Mapping[str, bool] = field(default_factory=dict[str, bool])

    @classmethod
    def of(cls, module: nn.Module, x: Input) -> "Frame":
        """Return the frame for a module's inputs: signals too have channels where it says so."""
        channels = _signal_channels(module)
        return cls(
            {
                name: array.shape[-1] == channels
                for name, array in inputs_of(x).items()
                if array.ndim == IMAGES - 1 and is_float(array)
            }
        )

    def fitted(
        self,
        theirs: Mapping[str, np.ndarray],
        shapes: Mapping[str, tuple[int, ...]],
        run: Callable[[], Mapping[str, np.ndarray]],
    ) -> "Frame":
        """Return the frame in which PyTorch's outputs have the shapes that JAX's have.

        Args:
            theirs: PyTorch's outputs in this frame.
            shapes: the shapes of JAX's.
            run: returns JAX's; where several layouts have the shape, the nearest numbers decide.
        """
        found = {}
        for name, value in theirs.items():
            if name not in shapes or value.ndim < IMAGES - 1:
                continue
            moved = self._moves(name, value.ndim, self.outputs)
            both = {moved: value, not moved: _first(value) if moved else _last(value)}
            fit = [moves for moves, array in both.items() if array.shape == shapes[name]]
            if len(fit) == 2:
                errors = {m: float(np.abs(both[m] - run()[name]).max()) for m in fit}
                fit = [min(fit, key=lambda moves: errors[moves])]
            found[name] = fit[0] if fit else moved
        return replace(self, outputs={**self.outputs, **found})

    def tensors(self, x: Input, dtype: torch.dtype) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what PyTorch's module is called with."""
        names = {id(array): name for name, array in inputs_of(x).items()}

        def tensor(array: np.ndarray) -> torch.Tensor:
            return self._tensor(names[id(array)], array, dtype, self.inputs)

        return arguments(jax.tree.map(tensor, x))

    def target(self, name: str, array: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        """Return what an output of PyTorch's is compared with, from its value in JAX's layout."""
        return self._tensor(name, array, dtype, self.outputs)

    def output(self, name: str, tensor: torch.Tensor) -> np.ndarray:
        """Return a private copy of an output of PyTorch's in JAX's layout."""
        return self._array(name, tensor, self.outputs)

    def input(self, name: str, tensor: torch.Tensor) -> np.ndarray:
        """Return a private copy of an input of PyTorch's, or its gradient, in JAX's layout."""
        return self._array(name, tensor, self.inputs)

    def _moves(self, name: str, ndim: int, known: Mapping[str, bool]) -> bool:
        return known.get(name, ndim >= IMAGES)

    def _tensor(
        self, name: str, array: np.ndarray, dtype: torch.dtype, known: Mapping[str, bool]
    ) -> torch.Tensor:
        if not is_float(array):
            indices = np.issubdtype(array.dtype, np.integer)
            return torch.tensor(array, dtype=torch.int64 if indices else None)
        moved = _first(array) if self._moves(name, array.ndim, known) else array
        return torch.tensor(np.ascontiguousarray(moved), dtype=dtype)

    def _array(self, name: str, tensor: torch.Tensor, known: Mapping[str, bool]) -> np.ndarray:
        array = tensor.detach().cpu().numpy()
        return np.array(_last(array) if self._moves(name, array.ndim, known) else array, order="C")


def _first(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, -1, 1)


def _last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 1, -1)


def _signal_channels(module: nn.Module) -> int | None:
    """Return how many channels a module takes first, where that is a convolution over a signal."""
    own = (m for m in module.modules() if next(m.parameters(recurse=False), None) is not None)
    first = next(own, None)
    if isinstance(first, nn.Conv1d | nn.ConvTranspose1d):
        return first.in_channels
    return first.num_features if isinstance(first, nn.BatchNorm1d | nn.InstanceNorm1d) else None
