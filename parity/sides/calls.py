"""What a pair is called with and what it gives: an array, or tuples and dictionaries of arrays."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import count
from typing import Any, cast

import jax
import numpy as np

_CALL = ", call "
_NO_NUMBERS = "OUSMm"  # kinds of dtypes: objects, texts, times
Input = Any
"""One call's input: an array; a tuple of arguments; or a dictionary of arguments by name."""


def is_float(array: Any) -> bool:
    """Return whether an array holds floating point numbers."""
    return bool(np.issubdtype(np.dtype(array.dtype), np.floating))


def as_input(x: Any) -> Input:
    """Return an input with NumPy's arrays: numbers in float32, indices in int32, others as given.

    Raises:
        ValueError: if an array is empty or not finite, or holds no numbers.
    """

    def taken(value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.dtype.kind in _NO_NUMBERS:
            raise ValueError(f"`x` must hold numbers, got {value!r}")
        if array.size == 0 or not np.isfinite(array).all():
            raise ValueError(f"`x` must hold finite numbers, got shape {array.shape}")
        if is_float(array):
            return array.astype(np.float32)
        return array.astype(np.int32) if np.issubdtype(array.dtype, np.integer) else array

    return jax.tree.map(taken, x)


def as_inputs(x: Any) -> list[Input]:
    """Return the inputs that `parity.compare` was given: a list holds several.

    Raises:
        ValueError: if there is none, or an array is empty or not finite.
    """
    given = cast(list[Any], x if isinstance(x, list) else [x])
    inputs = [as_input(each) for each in given]
    if not inputs or any(not jax.tree.leaves(each) for each in inputs):
        raise ValueError("`x` must hold at least one input, got none")
    return inputs


def arguments(x: Input) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return an input as the positional and the named arguments of a call."""
    if isinstance(x, dict):
        return (), cast(dict[str, Any], x)
    return cast(tuple[Any, ...], x if isinstance(x, tuple) else (x,)), {}


def widened(x: Input, dtype: Any) -> Input:
    """Return an input with its floating point numbers in a dtype."""

    def wide(array: Any) -> Any:
        return array.astype(dtype) if is_float(array) else array

    return jax.tree.map(wide, x)


def inputs_of(x: Input) -> dict[str, Any]:
    """Return an input's arrays by name: the first is ``input``, others such as ``input mask``."""
    return _named(x, "input", "input")


def outputs_of(tree: Any) -> dict[str, Any]:
    """Return an output's arrays by name: the first is ``""``, others such as ``output maps.0``."""
    return _named(tree, "", "output")


def next_call(known: Container[str], path: str) -> str:
    """Return what the next call of a module is known under: the first by its path."""
    calls = (path if n == 1 else f"{path}{_CALL}{n}" for n in count(1))
    return next(call for call in calls if call not in known)


def path_of_call(call: str) -> tuple[str, str]:
    """Return the path of a module that was called, and what tells the call from its first."""
    path, mark, number = call.partition(_CALL)
    return path, mark + number


def is_result(name: str) -> bool:
    """Return whether a name is that of an output of the whole module, not of a part."""
    return name == "" or name.startswith("output ")


def _named(tree: Any, first: str, kind: str) -> dict[str, Any]:
    found = _leaves(tree, "")
    names = [first, *(f"{kind} {path}" for path, _ in found[1:])]
    return dict(zip(names, (array for _, array in found), strict=False))


def _leaves(tree: Any, path: str) -> list[tuple[str, Any]]:
    parts: list[tuple[str, Any]]
    if isinstance(tree, Mapping):
        items = cast(Mapping[Any, Any], tree)
        parts = [(str(key), items[key]) for key in sorted(items)]
    elif isinstance(tree, Sequence):
        parts = [(str(i), value) for i, value in enumerate(cast(Sequence[Any], tree))]
    elif is_dataclass(tree):
        parts = [(field.name, getattr(tree, field.name)) for field in fields(tree)]
    else:
        return [(path, tree)] if hasattr(tree, "shape") and hasattr(tree, "dtype") else []
    nested = [_leaves(value, f"{path}.{key}" if path else key) for key, value in parts]
    return [leaf for found in nested for leaf in found]
