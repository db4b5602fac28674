"""What training carries from step to step: one pytree of arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

Tree = Any
"""Arrays in nested dictionaries, or whatever else a JAX transformation puts in their place."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Average:
    """The moving average of a network's arrays, for evaluation.

    Args:
        params: of the parameters.
        statistics: of the running statistics.
    """

    params: Tree
    statistics: Tree


ARRAYS = ("step", "params", "statistics", "rng", "optimizer", "average")
"""The fields of a `TrainState` that hold arrays."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=ARRAYS,
    meta_fields=("graphdef",),
    drop_fields=("flat",),
)
@dataclass(frozen=True)
class TrainState:
    """A network in training; `create_state` makes one.

    Its leaves are arrays, in dictionaries that are nested as the network's modules are. The
    network itself is taken apart once, here, and put together while a step is compiled, never
    while one runs.

    >>> state = create_state(fb.Head(3, 10, rngs=nnx.Rngs(0)), optax.sgd(0.1))
    >>> state.params["classifier"]["kernel"].shape
    (3, 10)
    >>> state.model()(jnp.ones((1, 5, 5, 3))).shape
    (1, 10)

    Args:
        step: number of updates so far, an int32 of shape ``()``.
        params: the parameters.
        statistics: the running statistics of the normalizations.
        rng: the keys and counts of the network's own random streams (dropout, drop path).
        optimizer: the state of the optax transformation.
        average: the moving average; None where none is kept.
        graphdef: the network without its arrays.

    Attributes:
        flat: the leaves and their structure, where a train step made the state; else None.
    """

    step: Tree
    params: Tree
    statistics: Tree
    rng: Tree
    optimizer: Tree
    average: Tree  # an `Average`, or None
    graphdef: nnx.GraphDef[Any]
    flat: tuple[list[jax.Array], Any] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def model(self, *, average: bool = False) -> Any:
        """Return the network, with arrays of its own.

        Args:
            average: whether its parameters and statistics are the moving average.

        Returns:
            A module of the class that `create_state` was given, in the same mode.

        Raises:
            ValueError: if the state keeps no average.
        """
        params, statistics = weights_of(self, average=average)
        return nnx.merge(self.graphdef, *own((params, statistics, self.rng)))


def create_state(
    model: nnx.Module, optimizer: optax.GradientTransformation, *, average: bool = False
) -> TrainState:
    """Take a network apart for training.

    The state has copies of the arrays: a train step consumes the state that it is given, and the
    network stays usable.

    Args:
        model: the network; its parameters, statistics and random streams are taken.
        optimizer: an optax transformation, such as `Recipe.optimizer` makes.
        average: whether a moving average of parameters and statistics is kept.

    Returns:
        The state before the first step.

    Raises:
        ValueError: if the network has variables of another kind.
    """
    graphdef, params, statistics, rng, others = nnx.split(
        model, nnx.Param, nnx.BatchStat, nnx.RngState, ...
    )
    if others:
        kinds = sorted({type(leaf).__name__ for _, leaf in nnx.to_flat_state(others)})
        raise ValueError(
            "`model` must have variables of the kinds Param, BatchStat and RngState only, got "
            f"{', '.join(kinds)}"
        )
    params, statistics, rng = own(tuple(map(nnx.to_pure_dict, (params, statistics, rng))))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        statistics=statistics,
        rng=rng,
        optimizer=jax.jit(optimizer.init)(params),
        average=Average(*own((params, statistics))) if average else None,
        graphdef=graphdef,
    )


def weights_of(state: TrainState, *, average: bool) -> tuple[Tree, Tree]:
    """Return the parameters and statistics, or their moving averages.

    Raises:
        ValueError: if the state keeps no average.
    """
    if not average:
        return state.params, state.statistics
    if state.average is None:
        raise ValueError(
            "`average` must be False for a state without one, got True: "
            "make it by create_state(model, optimizer, average=True)"
        )
    return state.average.params, state.average.statistics


def apply_model(
    graphdef: nnx.GraphDef[Any], params: Tree, statistics: Tree, rng: Tree, image: Any
) -> tuple[jax.Array, Tree, Tree]:
    """Put the network together and run it in train mode.

    Returns:
        The logits, the new statistics and the new state of the random streams.
    """
    model = nnx.merge(graphdef, params, statistics, rng)
    model.train()
    logits = model(image)
    _, _, statistics, rng = nnx.split(model, nnx.Param, nnx.BatchStat, nnx.RngState)
    return logits, nnx.to_pure_dict(statistics), nnx.to_pure_dict(rng)


@jax.jit
def own(tree: Tree) -> Tree:
    """Return a copy of every array, which nothing else holds."""
    return jax.tree.map(jnp.copy, tree)


Batch = Mapping[str, Any]
"""``image`` of shape ``(n, h, w, c)``, float or uint8; ``label`` of shape ``(n,)``, int32; and for
evaluation, where rows are padding, ``weight`` of shape ``(n,)``: 0 for those and 1 for others."""
