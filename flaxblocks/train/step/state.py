# pyright: basic
"""What training carries from step to step: one pytree of arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from flaxblocks.train.step.filters import Filter, Path

Tree = Any
"""Arrays in nested dictionaries, or whatever else a JAX transformation puts in their place."""

Batch = Mapping[str, Any]
"""Arrays whose first axis counts the rows. A classifier's batch has ``image`` of shape
``(n, h, w, c)``, float or uint8; ``label`` of shape ``(n,)``, int32; and, for evaluation with
padding, ``weight`` of shape ``(n,)``: 0 for rows of padding and 1 for others."""

Metrics = dict[str, jax.Array]
"""Numbers by name, each of shape ``()`` and still on the device."""


ARRAYS = ("step", "params", "frozen", "statistics", "rng", "optimizer", "average")
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
    network is split into them once, and merged while a step is compiled, never while one runs.

    >>> state = create_state(fb.Head(3, 10, rngs=nnx.Rngs(0)), optax.sgd(0.1))
    >>> state.params["classifier"]["kernel"].shape
    (3, 10)
    >>> state.model()(jnp.ones((1, 5, 5, 3))).shape
    (1, 10)

    Args:
        step: number of updates so far, an int32 of shape ``()``.
        params: the parameters that are trained.
        frozen: the parameters that are not.
        statistics: the running statistics of the normalizations.
        rng: keys and counts of the network's own random streams (dropout, drop path).
        optimizer: the state of the optax transformation.
        average: moving averages of `params` and `statistics`, a pair; None where none is kept.
        graphdef: the network without its arrays, in the mode in which it is trained.

    Attributes:
        flat: the leaves and their structure, where a train step made the state; else None.
    """

    step: Tree
    params: Tree
    frozen: Tree
    statistics: Tree
    rng: Tree
    optimizer: Tree
    average: Tree
    graphdef: nnx.GraphDef[Any]
    flat: tuple[list[jax.Array], Any] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def variables(self, *, average: bool = False) -> tuple[Tree, ...]:
        """Return all of the network's arrays, as `nnx.merge` takes them after `graphdef`.

        Args:
            average: whether parameters and statistics are the moving average.

        Raises:
            ValueError: if the state keeps no average.
        """
        source = self.average if average else (self.params, self.statistics)
        if source is None:
            raise ValueError(
                "`average` must be False for a state without one, got True: "
                "make it by create_state(model, optimizer, average=True)"
            )
        params, statistics = source
        return params, self.frozen, statistics, self.rng

    def model(self, *, average: bool = False) -> Any:
        """Return the network, with arrays of its own.

        Args:
            average: whether its parameters and statistics are the moving average.

        Returns:
            A module of the class that `create_state` was given, in the mode in which it is
            trained: call `eval()` before inference.

        Raises:
            ValueError: if the state keeps no average.
        """
        return nnx.merge(self.graphdef, *_copy(self.variables(average=average)))


def create_state(
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    *,
    trainable: Filter = ...,
    average: bool = False,
) -> TrainState:
    """Split a network into the arrays that training updates and those that it keeps.

    The state has copies of the arrays: a train step consumes the state that it is given, and the
    network stays usable.

    Each module trains in the mode that it is in. `create_model` returns networks in train mode; a
    BatchNorm on which `eval()` was called normalizes by its running statistics and keeps them.
    Frozen parameters get no gradient and no optimizer state, and a normalization that is frozen
    with them (one without parameters: with the module around it) keeps its statistics too. Dropout
    stays as it is.

    >>> from flaxblocks.train import under
    >>> model = fb.Head(3, 10, conv_features=8, rngs=nnx.Rngs(0))
    >>> state = create_state(model, optax.sgd(0.1), trainable=under("classifier"))
    >>> list(state.params), list(state.frozen)
    (['classifier'], ['conv'])

    Args:
        model: the network, with variables of the kinds Param, BatchStat and RngState.
        optimizer: an optax transformation, such as `Recipe.optimizer` makes.
        trainable: selects the parameters that are trained: an NNX filter, such as
            ``under("head", "stages.3")`` or ``nnx.Not(under("stem"))``.
        average: whether a moving average of parameters and statistics is kept.

    Returns:
        The state before the first step.

    Raises:
        ValueError: if `trainable` selects no parameter, or the network has variables of another
            kind.
    """
    trained = nnx.All(nnx.Param, trainable)
    model = _with_frozen_statistics(model, trained)
    graphdef, *trees, others = nnx.split(
        model, trained, nnx.Param, nnx.BatchStat, nnx.RngState, ...
    )
    if others:
        kinds = sorted({type(leaf).__name__ for _, leaf in nnx.to_flat_state(others)})
        raise ValueError(
            "`model` must have variables of the kinds Param, BatchStat and RngState only, got "
            f"{', '.join(kinds)}"
        )
    if not trees[0] and trainable is not ...:
        raise ValueError(
            f"`trainable` must select at least one parameter, got {trainable!r}: "
            "select a module by under('head')"
        )
    params, frozen, statistics, rng = _copy(tuple(map(nnx.to_pure_dict, trees)))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        frozen=frozen,
        statistics=statistics,
        rng=rng,
        optimizer=jax.jit(optimizer.init)(params),
        average=_copy((params, statistics)) if average else None,
        graphdef=graphdef,
    )


def _with_frozen_statistics(model: nnx.Module, trained: Filter) -> nnx.Module:
    """Return the network with eval mode for the normalizations around which nothing is trained."""
    params = _paths(model, nnx.Param)
    kept = set(params) - set(_paths(model, trained))
    if not kept:
        return model

    def is_frozen(module: Path) -> bool:
        inside = [path for path in params if path[: len(module)] == module]
        return kept.issuperset(inside) if inside else is_frozen(module[:-1])

    frozen = {path[:-1] for path in _paths(model, nnx.BatchStat) if is_frozen(path[:-1])}
    model = nnx.merge(*nnx.split(model))  # the caller's network keeps its mode
    model.set_attributes(
        lambda path, module: path in frozen, use_running_average=True, raise_if_not_found=False
    )
    return model


def _paths(model: nnx.Module, kind: Filter) -> list[Path]:
    return [path for path, _ in nnx.to_flat_state(nnx.state(model, kind))]


@jax.jit
def _copy(tree: Tree) -> Tree:
    """Return a copy of every array, which nothing else holds."""
    return jax.tree.map(jnp.copy, tree)
