# pyright: reportUnknownMemberType=false
"""Tensors with several names: weights that are tied, layers that stand in several places."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from flaxblocks.weights.entries import Entry


def first_names(known: Mapping[str, Entry]) -> dict[str, str]:
    """Return the first name of what holds a tensor, by each of its names.

    Args:
        known: a JAX module's tensors by native name.
    """
    first: dict[int, str] = {}
    held = {name: entry.variable for name, entry in known.items() if entry.variable is not None}
    return {name: first.setdefault(id(variable), name) for name, variable in held.items()}


def under_all_names(
    arrays: Mapping[str, np.ndarray], known: Mapping[str, Entry]
) -> dict[str, np.ndarray]:
    """Return the arrays under every name that their variables have in a JAX module."""
    firsts = first_names(known)
    given = {firsts[name]: value for name, value in arrays.items() if name in firsts}
    return dict(arrays) | {name: given[first] for name, first in firsts.items() if first in given}


def further_names(
    held: Mapping[str, torch.Tensor], keys: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the further names of PyTorch's tensors, with the native name of the first.

    Args:
        held: PyTorch's tensors by name.
        keys: native names of those that have a counterpart.
    """
    first = {id(held[name]): native for name, native in keys.items()}
    for name, value in held.items():
        if name not in keys and id(value) in first:
            yield name, first[id(value)]


def each_once(
    keys: Mapping[str, str], held: Mapping[str, torch.Tensor]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the first of PyTorch's tensors for each of JAX's, and the others by name.

    An other is one of its own, which JAX has no second tensor for, and goes with the first's name.
    """
    first: dict[str, str] = {}
    for name, native in keys.items():
        first.setdefault(native, name)
    kept = {name: native for name, native in keys.items() if first[native] == name}
    others = {name: first[native] for name, native in keys.items() if name not in kept}
    return kept, {name: one for name, one in others.items() if held[name] is not held[one]}
