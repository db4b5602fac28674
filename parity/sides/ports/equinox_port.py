# pyright: reportUnknownMemberType=false
"""A module of Equinox, which takes one example, channels first, with its state if it has one."""

import inspect
from functools import partial
from typing import Any, cast

import equinox
import jax
import jax.numpy as jnp

from flaxblocks.weights.axes import AS_IT_IS, Axes, joined
from parity.sides.ports.function_port import key
from parity.sides.ports.noting import noting
from parity.sides.ports.port import STATISTICS, Arrays, Port, flattened, named, variable

BATCH = "batch"  # the axis over which Equinox's examples take means
NORMS = (equinox.nn.BatchNorm, equinox.nn.LayerNorm, equinox.nn.GroupNorm, equinox.nn.RMSNorm)
IMAGE = 3  # axes of an example that has channels


def as_port(module: equinox.Module, state: equinox.nn.State | None) -> Port:
    """Return a module as a port, which takes batches with channels last.

    Args:
        module: takes one example, as Equinox's modules do; norms mean over the axis ``batch``.
        state: what `equinox.nn.make_with_state` made beside it.
    """
    own, fixed = cast(tuple[Any, Any], equinox.partition(module, equinox.is_array))
    flat, structure = flattened(own)
    names = [named(key(part) for part in path) for path, _ in flat]
    values = dict(zip(names, (value for _, value in flat), strict=True))
    indices = {} if state is None else _indices(module, state)
    statistics = {n: state.get(i)[at] for n, (i, at) in indices.items()} if state else {}
    up = _transposed_convolutions(module)
    known = {n: _layout(n, v, n.rpartition(".")[0] in up) for n, v in values.items()}
    held = {n: variable(n, v, known[n]) for n, v in values.items()}
    held |= {n: variable(n, v, AS_IT_IS) for n, v in statistics.items()}

    epsilons: dict[str, float] = {}

    def call(
        arrays: Arrays, args: Any, kwargs: Any, training: bool, drop: bool = False
    ) -> tuple[Any, Arrays]:
        of = {id(array): name.rpartition(".")[0] for name, array in arrays.items()}

        def note(norm: Any) -> None:
            if id(norm.weight) in of:
                epsilons[of[id(norm.weight)]] = float(norm.eps)

        own_tree = jax.tree.unflatten(structure, [arrays[n] for n in names])
        tree: Any = equinox.combine(own_tree, fixed)
        moded: Any = cast(Any, equinox.nn.inference_mode(tree, not training))
        moded = moded if drop else _without_dropout(moded)
        own = None if state is None else _set(state, indices, arrays)
        with noting(NORMS, "__call__", note):
            output, after = _batched(moded, own, args, kwargs)
        return output, {n: after.get(i)[at] for n, (i, at) in indices.items()} if after else {}

    own = {n: ".".join(str(key(step)) for step in p) for n, (p, _) in zip(names, flat, strict=True)}
    dropping = partial(call, drop=True) if _drops(module) else None
    own |= {n: n for n in statistics}
    return Port(held, known, own, call, dropping=dropping, epsilons=lambda: epsilons)


def _batched(module: Any, state: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    takes = inspect.signature(type(module).__call__).parameters
    more = {"key": jax.random.key(0)} if "key" in takes else {}

    def one(args: Any, kwargs: Any) -> Any:
        args, kwargs = jax.tree.map(_channels_first, (args, kwargs))
        if state is None:
            return jax.tree.map(_channels_last, module(*args, **kwargs, **more)), None
        output, after = module(*args, state, **kwargs, **more)
        return jax.tree.map(_channels_last, output), after

    return jax.vmap(one, axis_name=BATCH, out_axes=(0, None))(args, kwargs)


def _channels_first(array: Any) -> Any:
    return jnp.moveaxis(array, -1, 0) if array.ndim >= IMAGE else array


def _channels_last(array: Any) -> Any:
    return jnp.moveaxis(array, 0, -1) if array.ndim >= IMAGE else array


def _is_dropout(part: Any) -> bool:
    return isinstance(part, equinox.nn.Dropout)


def _drops(module: Any) -> bool:
    """Return whether the module drops, and takes the random key for that."""
    has_key = "key" in inspect.signature(type(module).__call__).parameters
    return has_key and any(map(_is_dropout, jax.tree.leaves(module, is_leaf=_is_dropout)))


def _without_dropout(module: Any) -> Any:
    def rested(part: Any) -> Any:
        return cast(Any, equinox.nn.inference_mode(part, True) if _is_dropout(part) else part)

    return jax.tree.map(rested, module, is_leaf=_is_dropout)


def _indices(module: Any, state: Any) -> dict[str, tuple[Any, int]]:
    """Return where the state holds each norm's mean and variance."""

    def is_index(part: Any) -> bool:
        return isinstance(part, equinox.nn.StateIndex)

    flat, _ = flattened(module, is_leaf=is_index)
    pairs = [(path, x) for path, x in flat if is_index(x) and isinstance(state.get(x), tuple)]
    return {
        named([*(key(part) for part in path[:-1]), leaf]): (index, at)
        for path, index in pairs
        for at, leaf in enumerate(STATISTICS)
    }


def _set(state: Any, indices: dict[str, tuple[Any, int]], arrays: Arrays) -> Any:
    """Return the state with these statistics, which are no longer a norm's first ones."""
    flat, structure = jax.tree.flatten(state)
    names = {id(state.get(index)[at]): name for name, (index, at) in indices.items()}
    values = [arrays[names[id(x)]] if id(x) in names else _later(x) for x in flat]
    return jax.tree.unflatten(structure, values)


def _later(value: Any) -> Any:
    """Return a flag, such as that of a first time, unset; and a count in a dtype that it keeps."""
    return jnp.zeros_like(value) if value.dtype == bool else jnp.asarray(value, value.dtype)


def _transposed_convolutions(module: Any) -> set[str]:
    def is_one(part: Any) -> bool:
        return isinstance(part, equinox.nn.ConvTranspose)

    flat, _ = flattened(module, is_leaf=is_one)
    return {named(key(step) for step in path) for path, part in flat if is_one(part)}


def _layout(name: str, value: Any, is_transposed: bool) -> Axes:
    """Return the layout: a convolution's bias has axes for its window."""
    is_bias = name.rpartition(".")[2] == "bias" and value.ndim > 1
    if is_bias:
        return joined(value.shape, value.shape[:1])
    if is_transposed and value.ndim > 1:
        return Axes((1, 0, *range(2, value.ndim)), mirrored=tuple(range(2, value.ndim)))
    return AS_IT_IS
