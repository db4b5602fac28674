# pyright: reportUnknownMemberType=false
"""A module of Flax Linen with its variables."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import jax
from flax import linen, traverse_util

from flaxblocks.weights import axes
from flaxblocks.weights.axes import Axes
from parity.sides.calling import mode_arguments
from parity.sides.calls import Input, arguments
from parity.sides.ports.port import Arrays, Port, named, variable
from parity.trace.widen import in_float64

PARAMS = "params"
NORMS: tuple[Any, ...] = (
    *(linen.BatchNorm, linen.LayerNorm, linen.GroupNorm, linen.RMSNorm, linen.InstanceNorm),
)
CALLS = {norm.__call__ for norm in NORMS}
Path = tuple[str, ...]


def as_port(module: linen.Module, variables: Mapping[str, Any] | None, x: Input) -> Port:
    """Return a module as a port.

    Args:
        module: the module.
        variables: of all its collections, as `init` returns them; initialized where absent.
        x: what it is called with.
    """
    args, kwargs = arguments(x)
    own_call = cast(Callable[..., Any], type(module).__call__)
    kinds: dict[Path, linen.Module] = {}

    def noted(next_call: Any, args: Any, kwargs: Any, context: linen.module.InterceptorContext):
        kinds[context.module.path] = context.module.clone(parent=None)
        return next_call(*args, **kwargs)

    with linen.intercept_methods(noted):
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        rest = {**mode_arguments(own_call, False), **kwargs}
        started = module.init(rngs, *args, **rest)
    flat = _flat(started if variables is None else variables)
    names = {path: named(path[1:]) for path in flat}
    known = {names[p]: _layout(kinds.get(p[1:-1]), p[-1], v) for p, v in flat.items()}
    held = {
        names[p]: variable(names[p], v, known[names[p]], p[0] == PARAMS) for p, v in flat.items()
    }
    # Their state starts in the dtype that its parameters had, and must end in it.
    recurrent = any(isinstance(kind, linen.RNNCellBase) for kind in kinds.values())
    owners = {path[1:-1]: name.rpartition(".")[0] for path, name in names.items()}
    epsilons: dict[str, float] = {}

    def noting(next_call: Any, args: Any, kwargs: Any, context: linen.module.InterceptorContext):
        norm: Any = context.module
        is_own = isinstance(norm, NORMS) and type(norm).__call__ in CALLS
        if is_own and norm.path in owners and context.method_name == "__call__":
            epsilons[owners[norm.path]] = float(norm.epsilon)
        return next_call(*args, **kwargs)

    moving = sorted({path[0] for path in flat} - {PARAMS})

    def call(
        arrays: Arrays, args: Any, kwargs: Any, training: bool, drop: bool = False
    ) -> tuple[Any, Arrays]:
        given = {path: arrays[name] for path, name in names.items()}
        tree = cast(Any, traverse_util.unflatten_dict(given))
        rest = {**mode_arguments(own_call, training), **kwargs}

        def run(tree: Any, args: Any, rest: Any) -> Any:
            # A module may take what it can write for the mode, as jax-resnet's do.
            return module.apply(
                tree,
                *args,
                **rest,
                rngs={"dropout": jax.random.key(0)},
                mutable=moving if training else [],
            )

        switched = nullcontext() if drop else linen.intercept_methods(_without_dropout)
        with linen.intercept_methods(noting), switched:
            output, moved = (in_float64(run) if recurrent else run)(tree, args, rest)
        after = _flat(moved)
        return output, {names[path]: value for path, value in after.items() if path in names}

    own = {name: "/".join(path) for path, name in names.items()}
    drops = any(isinstance(kind, linen.Dropout) for kind in kinds.values())
    dropping = partial(call, drop=True) if drops else None
    return Port(held, known, own, call, dropping=dropping, epsilons=lambda: epsilons)


def _flat(variables: Any) -> dict[Path, Any]:
    """Return the arrays of collections, by their paths."""
    return cast(dict[Path, Any], traverse_util.flatten_dict(dict(variables)))


def _without_dropout(
    next_call: Any, args: Any, kwargs: Any, context: linen.module.InterceptorContext
) -> Any:
    if isinstance(context.module, linen.Dropout) and context.method_name == "__call__":
        return args[0]
    return next_call(*args, **kwargs)


def _layout(module: linen.Module | None, leaf: str, value: Any) -> Axes:
    shape = tuple(value.shape)
    if isinstance(module, linen.DenseGeneral):
        if leaf == "bias":
            return axes.flat(shape)
        return axes.matrix(shape, 1 if isinstance(module.axis, int) else len(module.axis))
    if leaf != "kernel":
        return axes.AS_IT_IS
    if isinstance(module, linen.ConvTranspose):
        if module.transpose_kernel:
            return axes.conv(len(shape))
        return axes.transposed_conv(len(shape))
    return axes.LINEAR if len(shape) == 2 else axes.conv(len(shape))
