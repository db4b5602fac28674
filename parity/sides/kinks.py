"""The kinks of a PyTorch module's activations, across which a gradient jumps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from parity.checks.measure import scaled_error
from parity.trace.operations import kind_of
from torch_ref.harness.function_mode import FunctionMode

_FIXED = {
    "relu6": ((0, 6), (0, 6)),
    "hardsigmoid": ((-3, 3), (0, 1)),
    "hardswish": ((-3, 3), (0, 3)),
}
"""The inputs at which a function's slope jumps, and its results there."""
_AT_ZERO = {"relu", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "abs"}
_CLIPS = {"hardtanh": (-1.0, 1.0), "clamp": (None, None)}
_COMPARISONS = {"ge", "gt", "le", "lt"}

Numbers = tuple[float, ...]
Kink = dict[str, Numbers]
"""An activation: the values at its kinks, by the path of each module whose output is its input,
then of each whose output is its result."""


class Kinks(FunctionMode):
    """While open, collects the activations with kinks, in the order of computation.

    Args:
        paths: the modules whose output a tensor is, by its `id`; filled while this is open.
    """

    def __init__(self, paths: Mapping[int, list[str]]):
        super().__init__()
        self.paths = paths
        self.seen: list[tuple[Kink, torch.Tensor, Numbers]] = []

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function, and note its kinks."""
        x = args[0] if args else kwargs.get("input")
        before, after = _numbers(kind_of(func), args[1:], kwargs)
        kink = {path: before for path in self.paths.get(id(x), ())}
        result = func(*args, **kwargs)
        if before and isinstance(result, torch.Tensor):
            self.seen.append((kink, result, after))
        return result

    @property
    def found(self) -> list[Kink]:
        """The activations next to some module's output."""
        kinks = [
            kink | {path: after for path in self.paths.get(id(result), ()) if path not in kink}
            for kink, result, after in self.seen
        ]
        return [kink for kink in kinks if kink]


def located(
    kinks: Sequence[Kink],
    theirs: Mapping[str, np.ndarray],
    ours: Mapping[str, np.ndarray],
    limit: float,
) -> list[Kink]:
    """Return the kinks, those next to no module of ours by the module that holds the same values.

    Args:
        kinks: by PyTorch's modules.
        theirs: the outputs of PyTorch's modules.
        ours: of JAX's.
        limit: how far equal outputs may be apart.
    """
    return [
        kink if any(path in ours for path in kink) else _elsewhere(kink, theirs, ours, limit)
        for kink in kinks
    ]


def _elsewhere(
    kink: Kink, theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray], limit: float
) -> Kink:
    same = (
        {name: numbers}
        for path, numbers in kink.items()
        for name, value in ours.items()
        if path in theirs and scaled_error(value, theirs[path]) <= limit
    )
    return next(same, kink)


def _numbers(kind: str, rest: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Numbers, Numbers]:
    """Return at which inputs a call's slope jumps, and its results there."""
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _AT_ZERO:
        return (0.0,), (0.0,)
    if kind in _CLIPS:
        names = ("min_val", "max_val") if kind == "hardtanh" else ("min", "max")
        given = dict(zip(names, _CLIPS[kind], strict=True)) | dict(zip(names, rest, strict=False))
        limits = [kwargs.get(name, given[name]) for name in names]
        numbers = tuple(limit for limit in limits if isinstance(limit, int | float))
        return numbers, numbers
    if kind in _COMPARISONS and rest and isinstance(rest[0], int | float):
        return (float(rest[0]),), ()
    return (), ()
