"""Which variable of a module holds which tensor of a PyTorch state dict, and in which layout.

The list is derived from the module's structure: a module with variables of its own says what
PyTorch calls them (`LEAVES`), and its path in the tree gives the prefix.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx

from flaxblocks.layers import CondConv, EvoNorm, FilterResponseNorm, ScaledStandardizedConv
from flaxblocks.weights import axes


@dataclass(frozen=True)
class Layout:
    """How an array is laid out on both sides.

    Args:
        to_torch: turns NNX's layout into PyTorch's.
        from_torch: turns it back.
    """

    to_torch: Callable[[np.ndarray], np.ndarray]
    from_torch: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda a: a, lambda a: a)
LINEAR = Layout(np.transpose, np.transpose)  # (in, out) <-> (out, in)
CONV = Layout(  # (*window, in, out) <-> (out, in, *window)
    lambda a: np.moveaxis(a, (-1, -2), (0, 1)),
    lambda a: np.moveaxis(a, (0, 1), (-1, -2)),
)

EXPERTS = Layout(  # (experts, *window, in, out) <-> (experts, out, in, *window)
    lambda a: np.moveaxis(a, (-1, -2), (1, 2)),
    lambda a: np.moveaxis(a, (1, 2), (-1, -2)),
)

COUNTER = "num_batches_tracked"

Leaf = tuple[str, str, Layout]  # PyTorch's name, ours, layout

_CONV: tuple[Leaf, ...] = (("weight", "kernel", CONV), ("bias", "bias", SAME))
_NORM: tuple[Leaf, ...] = (("weight", "scale", SAME), ("bias", "bias", SAME))


def _transposed(module: nnx.ConvTranspose) -> tuple[Leaf, ...]:
    """Return the tensors of a transposed convolution, whose kernel may run the other way."""
    ndim = module.kernel.get_value().ndim
    kernel = axes.conv(ndim) if module.transpose_kernel else axes.transposed_conv(ndim)
    return ("weight", "kernel", _of(kernel)), ("bias", "bias", SAME)


def _general(module: nnx.LinearGeneral) -> tuple[Leaf, ...]:
    """Return the tensors of a projection into heads, or from them, which is one of vectors."""
    shape, count = module.kernel.get_value().shape, len(module.axis)
    kernel = axes.matrix(shape, count)
    return ("weight", "kernel", _of(kernel)), ("bias", "bias", _of(axes.flat(shape[count:])))


def _of(own: axes.Axes) -> Layout:
    return Layout(own.to_torch, own.from_torch)


Leaves = tuple[Leaf, ...] | Callable[[Any], tuple[Leaf, ...]]
LEAVES: dict[type[nnx.Module], Leaves] = {
    ScaledStandardizedConv: (*_CONV, ("gain", "gain", SAME)),
    nnx.Conv: _CONV,
    nnx.Linear: (("weight", "kernel", LINEAR), ("bias", "bias", SAME)),
    nnx.BatchNorm: (
        *_NORM,
        ("running_mean", "mean", SAME),
        ("running_var", "var", SAME),
        (COUNTER, COUNTER, SAME),
    ),
    nnx.LayerNorm: _NORM,
    nnx.GroupNorm: _NORM,
    nnx.InstanceNorm: _NORM,
    nnx.RMSNorm: _NORM[:1],
    nnx.Embed: (("weight", "embedding", SAME),),
    nnx.PReLU: (("weight", "negative_slope", _of(axes.flat(()))),),
    nnx.ConvTranspose: _transposed,
    nnx.LinearGeneral: _general,
    CondConv: (("weight", "kernel", EXPERTS),),
    EvoNorm: (*_NORM, ("gate", "gate", SAME)),
    FilterResponseNorm: (*_NORM, ("threshold", "threshold", SAME)),
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a PyTorch state dict.

    Args:
        variable: the variable that holds it; None for the batch counter of an `nnx.BatchNorm`,
            which PyTorch has and NNX has not.
        layout: how the two sides lay it out.
        shape: its shape in PyTorch.
    """

    variable: nnx.Variable[Any] | None
    layout: Layout
    shape: tuple[int, ...]


def children(module: nnx.Module) -> Iterator[tuple[str, nnx.Module]]:
    """Yield the submodules with their names in PyTorch.

    The members of an `nnx.Sequential` are numbered, as PyTorch numbers those of its own.
    """
    source = module.layers if isinstance(module, nnx.Sequential) else module
    for name, value in vars(source).items():
        if isinstance(value, nnx.Module):
            yield name, value


def entries(module: nnx.Module, prefix: str = "") -> dict[str, Entry]:
    """Return every tensor of the module's PyTorch state dict by its native name."""
    found = {prefix + name: entry for name, entry in own_entries(module)}
    for name, child in children(module):
        found |= entries(child, f"{prefix}{name}.")
    return found


def own_entries(module: nnx.Module) -> Iterator[tuple[str, Entry]]:
    """Yield the tensors that the module itself owns, with their names in PyTorch."""
    for torch_name, name, layout in _leaves(module):
        variable = getattr(module, name, None)
        if variable is not None:
            yield torch_name, Entry(variable, layout, torch_shape(variable, layout))
        elif name == COUNTER:
            yield torch_name, Entry(None, layout, ())


def _leaves(module: nnx.Module) -> tuple[Leaf, ...]:
    for kind, leaves in LEAVES.items():
        if isinstance(module, kind):
            return leaves(module) if callable(leaves) else leaves
    return tuple(
        (name, name, SAME)
        for name, value in vars(module).items()
        if isinstance(value, nnx.Param | nnx.BatchStat)
    )


def torch_shape(variable: nnx.Variable[Any], layout: Layout) -> tuple[int, ...]:
    """Return the variable's shape as PyTorch lays it out, without touching its value."""
    shape: tuple[int, ...] = variable.get_value().shape
    return shape if layout is SAME else layout.to_torch(np.broadcast_to(np.float32(), shape)).shape
