# pyright: reportUnknownMemberType=false
"""A network of another library as an NNX module: named variables, and a call."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.weights.axes import AS_IT_IS, Axes

ROLES = {
    **dict.fromkeys(("kernel", "scale", "embedding", "gamma", "w", "embeddings"), "weight"),
    **dict.fromkeys(("alpha", "negative_slope"), "weight"),
    "depthwise_kernel": "depthwise.weight",
    "pointwise_kernel": "pointwise.weight",
    **dict.fromkeys(("beta", "b", "offset"), "bias"),
    **dict.fromkeys(("mean", "moving_mean"), "running_mean"),
    **dict.fromkeys(("var", "moving_variance"), "running_var"),
}
"""What PyTorch calls a layer's own tensors, by the name that another library has for them."""
STATISTICS = ("running_mean", "running_var")

Arrays = dict[str, Any]
Call = Callable[[Arrays, tuple[Any, ...], dict[str, Any], bool], tuple[Any, Arrays]]
"""Runs a network: of its arrays by name, arguments, those by name, and whether it trains.

It returns the output, and the arrays that move, by name.
"""


class Part(nnx.Module):
    """A layer, or what holds layers: its variables and parts are its attributes."""


class Port(Part):
    """A network of another library.

    Args:
        variables: by PyTorch-like names, such as ``stem.conv.weight``, in PyTorch's layout.
        layouts: how the library lays them out; those that are absent are as in PyTorch.
        own_names: what the library calls them; those that are absent have no name of their own.
        call: runs the network on arrays in the library's own layout.
        guesses: whether the layouts are no library's, and may be others.
        dropping: runs it with dropout where it trains; absent where it has none.
        epsilons: returns what the norms that were called so far add to the variance, by the
            names of what holds their variables, where the library states it.
    """

    def __init__(
        self,
        variables: Mapping[str, nnx.Variable[Any]],
        layouts: Mapping[str, Axes],
        own_names: Mapping[str, str],
        call: Call,
        guesses: bool = False,
        dropping: Call | None = None,
        epsilons: Callable[[], Mapping[str, float]] = dict,
    ):
        self.guesses = guesses
        self.dropping, self.drops = dropping, False
        self.epsilons = epsilons
        self.call, self.layouts = call, nnx.static(dict(layouts))
        self.own_names = nnx.static(dict(own_names))
        self.names = tuple(variables)
        for name, variable in variables.items():
            *path, leaf = name.split(".")
            part: Any = self
            for key in path:
                if not hasattr(part, key):
                    setattr(part, key, Part())
                part = getattr(part, key)
            setattr(part, leaf, variable)

    def __call__(self, *args: Any, training: bool = False, **kwargs: Any) -> Any:
        """Run the network; its statistics move where it trains."""
        held = {name: self._variable(name) for name in self.names}
        own = {n: self.layout(n).from_torch(v[...]) for n, v in held.items()}
        run = self.dropping if self.drops and self.dropping is not None else self.call
        output, moved = run(own, args, kwargs, training)
        for name, value in moved.items():
            held[name].set_value(self.layout(name).to_torch(value))
        return output

    def layout(self, name: str) -> Axes:
        """Return how the library lays out an array."""
        return self.layouts.get(name, AS_IT_IS)

    def _variable(self, name: str) -> nnx.Variable[Any]:
        part: Any = self
        for key in name.split("."):
            part = getattr(part, key)
        return part


def named(path: Iterable[Any]) -> str:
    """Return the PyTorch-like name of an array at a path in a tree."""
    keys = [str(key) for part in path for key in str(part).replace("/", ".").split(".") if key]
    return ".".join([*keys[:-1], ROLES.get(keys[-1], keys[-1])])


def flattened(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[tuple[Sequence[Any], Any]], Any]:
    """Return a tree's leaves, each with the steps that lead to it, and its structure."""
    return cast(Any, jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf))


def variable(name: str, value: Any, layout: Axes, trained: bool = True) -> nnx.Variable[Any]:
    """Return what holds an array, in PyTorch's layout: a parameter, a statistic, or neither."""
    shape = layout.shape(tuple(value.shape))
    floating = jnp.issubdtype(value.dtype, jnp.inexact)
    known = (nnx.Param if trained else nnx.BatchStat) if floating else nnx.Variable
    is_statistic = name.rpartition(".")[2] in STATISTICS
    kind = cast(type[nnx.Variable[Any]], nnx.BatchStat if is_statistic else known)
    if isinstance(value, jax.ShapeDtypeStruct):
        return kind(jax.ShapeDtypeStruct(shape, value.dtype))
    return kind(layout.to_torch(jnp.asarray(value)))
