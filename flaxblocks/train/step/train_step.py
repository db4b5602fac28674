# pyright: basic
"""The train step: a pure function, compiled once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from flaxblocks._base import checks
from flaxblocks.train.optim.averages import RisingAverage
from flaxblocks.train.step.average import update_average
from flaxblocks.train.step.losses import CROSS_ENTROPY, Loss
from flaxblocks.train.step.mixing import Mixing
from flaxblocks.train.step.normalize import Prepare, as_float
from flaxblocks.train.step.sharding import replicate_like
from flaxblocks.train.step.state import Batch, Metrics, TrainState, Tree

FOR_CPU = {"xla_disable_hlo_passes": "cse_barrier_expander"}
"""A pass of XLA's CPU compiler removes the barriers of `jax.checkpoint`, after which XLA keeps in
memory what is to be computed a second time."""

StepFunction = Callable[[TrainState, Batch, Loss], tuple[TrainState, Metrics]]


class TrainStep:
    """A compiled train step; `make_train_step` makes one.

    The new state has the sharding of the old one, so that the second step is not compiled again.
    The compiled function takes and returns the state's arrays as a list: flattening even a small
    network's dictionaries would take a tenth of a step.
    """

    def __init__(self, function: StepFunction, loss: Loss):
        self._function = function
        self._loss_leaves, self._loss_structure = jax.tree.flatten(loss)
        self._compiled: dict[Any, Any] = {}

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Train on a batch.

        Args:
            state: the state before the step. The step consumes it: its arrays are deleted.
            batch: what the loss takes, such as ``image`` of shape ``(n, h, w, c)`` and ``label``
                of shape ``(n,)``.

        Returns:
            The state after the step; and ``loss``, ``gradient_norm`` (before any clipping) and
            what else the loss reports, each of shape ``()`` and still on the device.
        """
        leaves, structure = state.flat or jax.tree.flatten(state)
        compiled = self._compiled.get(structure)
        if compiled is None:
            compiled = self._compiled[structure] = self._compile(leaves, structure)
        step, arrays = compiled
        leaves, metrics = step(leaves, batch, arrays)
        new = structure.unflatten(leaves)
        object.__setattr__(new, "flat", (leaves, structure))
        return new, metrics

    def lower(self, state: TrainState, batch: Batch) -> jax.stages.Lowered:
        """Return the step as `jax.jit`'s `lower` does, to look at before it runs."""
        leaves, structure = jax.tree.flatten(state)
        step, arrays = self._compile(leaves, structure)
        return step.lower(leaves, batch, arrays)

    def _compile(self, leaves: list[jax.Array], structure: Any) -> tuple[Any, list[jax.Array]]:
        """Return the compiled function, and the loss's arrays on the state's devices."""

        def step(
            leaves: list[jax.Array], batch: Batch, arrays: list[jax.Array]
        ) -> tuple[list[jax.Array], Metrics]:
            state = structure.unflatten(leaves)
            state, metrics = self._function(state, batch, self._loss(arrays))
            return jax.tree.leaves(state), metrics

        places = [leaf.sharding if leaf.committed else None for leaf in leaves]
        on_cpu = {device.platform for device in leaves[0].devices()} == {"cpu"}
        compiled = jax.jit(
            step,
            donate_argnums=0,
            out_shardings=(places, None),
            compiler_options=FOR_CPU if on_cpu else None,
        )
        arrays = [leaf for leaf in self._loss_leaves if _is_array(leaf)]
        return compiled, replicate_like(leaves[0], arrays)

    def _loss(self, arrays: list[jax.Array]) -> Loss:
        """Return the loss with these arrays in place of its own."""
        given = iter(arrays)
        leaves = [next(given) if _is_array(leaf) else leaf for leaf in self._loss_leaves]
        return self._loss_structure.unflatten(leaves)


def make_train_step(
    optimizer: optax.GradientTransformation,
    *,
    loss: Loss = CROSS_ENTROPY,
    mixing: Mixing | None = None,
    average_decay: float | optax.Schedule = 0.9999,
    accumulate: int = 1,
    prepare: Prepare = as_float,
    seed: int = 0,
) -> TrainStep:
    """Make a train step: loss, gradient, update, statistics and moving average.

    What is random depends on the state and `seed` alone: training that is resumed from a stored
    state has the same bits as training that was never interrupted. Clipping belongs to the
    optimizer (`optax.clip_by_global_norm`); drop path, bfloat16 and rematerialization to the
    network (`create_model` takes `drop_path_rate` and `dtype`, see also `set_rematerialization`).

    >>> from flaxblocks.train import CrossEntropy, create_state
    >>> optimizer = optax.sgd(0.1, momentum=0.9)
    >>> state = create_state(fb.Head(3, 10, rngs=nnx.Rngs(0)), optimizer)
    >>> step = make_train_step(optimizer, loss=CrossEntropy(smoothing=0.1))
    >>> state, metrics = step(state, {"image": jnp.ones((4, 5, 5, 3)), "label": jnp.arange(4)})
    >>> sorted(metrics), int(state.step)
    (['accuracy', 'gradient_norm', 'loss'], 1)

    Args:
        optimizer: the transformation that the state was made with.
        loss: what is minimized: `CrossEntropy`, `BinaryCrossEntropy`, `Distillation`, or a
            function of the network and the batch, see `Loss`.
        mixing: Mixup and CutMix; None for neither.
        average_decay: weight of the past in the moving average, where the state keeps one: a
            function of the number of updates before, or a number, as `RisingAverage` takes it.
        accumulate: number of parts that the batch is computed in, one after the other; the update
            is that of the whole batch, the statistics move once for each part.
        prepare: prepares the batch on the device, such as `normalize`.
        seed: seed of the mixing.

    Returns:
        The step, to be called with a state and a batch.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.
    """
    checks.function("loss", loss)
    weight = average_decay
    if not callable(weight):
        weight = RisingAverage(checks.fraction("average_decay", weight))(1, 1, 1)
    checks.positive_int("accumulate", accumulate)

    def step(state: TrainState, batch: Batch, loss: Loss) -> tuple[TrainState, Metrics]:
        rows = prepare(batch)
        if mixing is not None:
            rows = mixing(jax.random.fold_in(jax.random.key(seed), state.step), rows)
        gradients, statistics, rng, metrics = _gradients(loss, state, rows, accumulate)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if average is not None:
            average = update_average(average, (params, statistics), jnp.asarray(weight(state.step)))
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        new = {"params": params, "statistics": statistics, "rng": rng, "average": average}
        return replace(state, step=state.step + 1, optimizer=optimizer_state, **new), metrics

    return TrainStep(step, loss)


def _gradients(
    loss: Loss, state: TrainState, rows: Batch, parts: int
) -> tuple[Tree, Tree, Tree, Metrics]:
    """Return the mean gradient over the parts, the new statistics and streams, the metrics."""

    def loss_of(params: Tree, statistics: Tree, rng: Tree, rows: Batch) -> Any:
        model = nnx.merge(state.graphdef, params, state.frozen, statistics, rng)
        result = loss(model, rows)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
            raise TypeError(
                "`loss` must return a pair of the mean loss and a dictionary of metrics, got "
                f"{type(result).__name__}"
            )
        value, metrics = result
        statistics, rng = nnx.state(model, nnx.BatchStat, nnx.RngState)
        new = nnx.to_pure_dict(statistics), nnx.to_pure_dict(rng)
        return value, (*new, {"loss": value, **metrics})

    gradient_of = jax.grad(loss_of, has_aux=True)
    if parts == 1:
        gradients, rest = gradient_of(state.params, state.statistics, state.rng, rows)
        return gradients, *rest

    def of_part(carry: Any, part: Batch) -> Any:
        total, statistics, rng = carry
        gradients, (statistics, rng, metrics) = gradient_of(state.params, statistics, rng, part)
        return (jax.tree.map(jnp.add, total, gradients), statistics, rng), metrics

    start = jax.tree.map(jnp.zeros_like, state.params), state.statistics, state.rng
    (total, statistics, rng), metrics = jax.lax.scan(of_part, start, _split(rows, parts))
    gradients = jax.tree.map(lambda leaf: leaf / parts, total)
    return gradients, statistics, rng, jax.tree.map(lambda leaf: leaf.mean(), metrics)


def _split(rows: Batch, parts: int) -> Batch:
    """Return the rows in parts, of shape ``(parts, n / parts, ...)``.

    Each takes every `parts`-th row, so that a batch that is sharded over devices stays so: no row
    moves to another device.
    """

    def split(leaf: jax.Array) -> jax.Array:
        size = leaf.shape[0]
        if size % parts:
            raise ValueError(f"`accumulate` must divide the batch's {size} rows, got {parts}")
        return jnp.moveaxis(leaf.reshape(size // parts, parts, *leaf.shape[1:]), 1, 0)

    return jax.tree.map(split, rows)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)
