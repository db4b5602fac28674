# pyright: reportUnknownMemberType=false
"""A pure function ``apply(params, x)`` of a tree of parameters."""

from collections.abc import Callable
from typing import Any

import jax

from flaxblocks.weights.axes import AS_IT_IS, LINEAR, Axes, conv
from parity.sides.calling import mode_arguments
from parity.sides.ports.port import Arrays, Port, flattened, named, variable


def as_port(apply: Callable[..., Any], params: Any) -> Port:
    """Return a function and its parameters as a port.

    Args:
        apply: takes the parameters and the inputs; it is told the mode where it has an argument
            such as `train` for it.
        params: a tree of arrays. Those called ``kernel`` are laid out as Flax's, others as
            PyTorch's; ``mean`` and ``var`` are statistics, which stay.
    """
    flat, structure = flattened(params)
    names = [named(key(part) for part in path) for path, _ in flat]
    layouts = {n: _layout(key(path[-1]), v) for n, (path, v) in zip(names, flat, strict=True)}

    def call(arrays: Arrays, args: Any, kwargs: Any, training: bool) -> tuple[Any, Arrays]:
        tree = jax.tree.unflatten(structure, [arrays[name] for name in names])
        return apply(tree, *args, **{**mode_arguments(apply, training), **kwargs}), {}

    values = {n: v for n, (_, v) in zip(names, flat, strict=True)}
    held = {n: variable(n, v, layouts[n]) for n, v in values.items()}
    own = {n: "/".join(str(key(step)) for step in p) for n, (p, _) in zip(names, flat, strict=True)}
    return Port(held, layouts, own, call, guesses=True)


def key(part: Any) -> Any:
    """Return the name, the index or the key of a step in a tree."""
    return next(getattr(part, name) for name in ("name", "idx", "key") if hasattr(part, name))


def _layout(leaf: Any, value: Any) -> Axes:
    if leaf != "kernel" or value.ndim < 2:
        return AS_IT_IS
    return LINEAR if value.ndim == 2 else conv(value.ndim)
