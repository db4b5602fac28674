# pyright: reportUnknownMemberType=false
"""Weights that NumPy computes.

They are a few products for each layer, once. To compile XLA's program for those of an
EfficientNet-B0 takes a second and 100 MB.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.core import Tracer

X = TypeVar("X")
R = TypeVar("R")


def by_numpy(function: Callable[[X], R]) -> Callable[[Sequence[X]], list[R]]:
    """Return a function of several items, each a pytree of arrays, that gives each one's result.

    NumPy computes them one after the other; the results are JAX's arrays on the items' device.
    Where arrays are traced, or several devices hold them, all are one program of XLA's.

    Args:
        function: takes an item with NumPy's arrays or with JAX's, and computes by `namespace`.
    """

    def each(items: Sequence[X]) -> list[R]:
        return [function(item) for item in items]

    compiled: Any = jax.jit(each)

    def call(items: Sequence[X]) -> list[R]:
        arrays: list[Any] = [a for a in jax.tree.leaves(items) if isinstance(a, jax.Array)]
        if any(isinstance(a, Tracer) for a in arrays):
            return compiled(items)
        devices = {device for a in arrays for device in a.devices()}
        if len(devices) != 1:
            return compiled(items)
        (device,) = devices
        results = (jax.tree.map(_own, function(jax.device_get(item))) for item in items)
        return [jax.device_put(result, device) for result in results]

    return call


def _own(array: np.ndarray) -> np.ndarray:
    """Return a copy of what is a view, perhaps of an item's array, whose memory JAX would share."""
    return array if array.base is None else array.copy()


def namespace(array: Any) -> Any:
    """Return `numpy` for an array of NumPy's, `jax.numpy` for one of JAX's."""
    return array.__array_namespace__()
