"""The train step and the evaluation step: pure functions, compiled once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from flaxblocks._base import checks
from flaxblocks.train.step.average import moved
from flaxblocks.train.step.evaluation import Metrics, evaluation_sums
from flaxblocks.train.step.losses import cross_entropy
from flaxblocks.train.step.mixing import Mixing, before
from flaxblocks.train.step.normalize import Prepare, as_float
from flaxblocks.train.step.state import Batch, TrainState, Tree, apply_model, weights_of

FOR_CPU = {"xla_disable_hlo_passes": "cse_barrier_expander"}
"""A pass of XLA's for CPU takes away the barriers that `jax.checkpoint` sets, after which XLA keeps
in memory what is to be computed a second time."""


class TrainStep:
    """A compiled train step; `make_train_step` makes one.

    The new state lies where the old one lay, so that the second step is not compiled again. What
    is compiled takes and gives the state's arrays as a list: to look through a small network's
    dictionaries would take a tenth of a step.
    """

    def __init__(self, function: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]):
        self._function = function
        self._compiled: dict[Any, Any] = {}

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Train on a batch.

        Args:
            state: the state before the step. The step consumes it: its arrays are gone.
            batch: ``image`` of shape ``(n, h, w, c)`` and ``label`` of shape ``(n,)``.

        Returns:
            The state after the step; and ``loss``, ``accuracy`` and ``gradient_norm`` (before any
            clipping), each of shape ``()`` and still on the device.
        """
        leaves, structure = state.flat or jax.tree.flatten(state)
        compiled = self._compiled.get(structure)
        if compiled is None:
            compiled = self._compiled[structure] = self._compile(leaves, structure)
        leaves, metrics = compiled(leaves, batch)
        new = structure.unflatten(leaves)
        object.__setattr__(new, "flat", (leaves, structure))
        return new, metrics

    def lower(self, state: TrainState, batch: Batch) -> jax.stages.Lowered:
        """Return the step as `jax.jit`'s `lower` does, to look at before it runs."""
        leaves, structure = jax.tree.flatten(state)
        return self._compile(leaves, structure).lower(leaves, batch)

    def _compile(self, leaves: list[jax.Array], structure: Any) -> Any:
        def step(leaves: list[jax.Array], batch: Batch) -> tuple[list[jax.Array], Metrics]:
            state, metrics = self._function(structure.unflatten(leaves), batch)
            return jax.tree.leaves(state), metrics

        places = [leaf.sharding if leaf.committed else None for leaf in leaves]
        on_cpu = {device.platform for device in leaves[0].devices()} == {"cpu"}
        return jax.jit(
            step,
            donate_argnums=0,
            out_shardings=(places, None),
            compiler_options=FOR_CPU if on_cpu else None,
        )


def make_train_step(
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: float = 0.0,
    mixing: Mixing | None = None,
    average_decay: float = 0.9999,
    accumulate: int = 1,
    prepare: Prepare = as_float,
    seed: int = 0,
) -> TrainStep:
    """Make a train step: loss, gradient, update, statistics and moving average.

    What is random depends on the state and `seed` alone: training that goes on from a stored state
    has the same bits as training that was never interrupted. Clipping belongs to the optimizer
    (`optax.clip_by_global_norm`), rematerialization, drop path and bfloat16 to the network
    (`set_rematerialization`; `create_model` takes `drop_path_rate` and `dtype`).

    >>> from flaxblocks.train import create_state
    >>> optimizer = optax.sgd(0.1, momentum=0.9)
    >>> state = create_state(fb.Head(3, 10, rngs=nnx.Rngs(0)), optimizer)
    >>> step = make_train_step(optimizer, label_smoothing=0.1)
    >>> state, metrics = step(state, {"image": jnp.ones((4, 5, 5, 3)), "label": jnp.arange(4)})
    >>> sorted(metrics), int(state.step)
    (['accuracy', 'gradient_norm', 'loss'], 1)

    Args:
        optimizer: the transformation that the state was made with.
        label_smoothing: the part of the target that is spread evenly over all classes.
        mixing: Mixup and CutMix; None for neither.
        average_decay: the weight of the past in the moving average, where the state keeps one.
        accumulate: number of parts that the batch is computed in, one after the other; the update
            is that of the whole batch, the statistics move once for each part.
        prepare: what is done to the images first, such as `normalize`.
        seed: of the mixing.

    Returns:
        The step, to be called with a state and a batch.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.
    """
    checks.fraction("label_smoothing", label_smoothing)
    checks.fraction("average_decay", average_decay)
    checks.positive_int("accumulate", accumulate)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        rows = {"image": prepare(batch["image"]), "label": batch["label"]}
        share = None
        if mixing is not None:
            key = jax.random.fold_in(jax.random.key(seed), state.step)
            rows["image"], share = mixing(key, rows["image"])
            rows["other"] = before(rows["label"])

        def loss_of(params: Tree, statistics: Tree, rng: Tree, rows: Batch) -> Any:
            logits, statistics, rng = apply_model(
                state.graphdef, params, statistics, rng, rows["image"]
            )
            losses = cross_entropy(logits, rows["label"], label_smoothing)
            if share is not None:
                others = cross_entropy(logits, rows["other"], label_smoothing)
                losses = share * losses + (1 - share) * others
            accuracy = (logits.argmax(-1) == rows["label"]).astype(losses.dtype).mean()
            loss = losses.mean()
            return loss, (statistics, rng, {"loss": loss, "accuracy": accuracy})

        gradients, statistics, rng, metrics = _gradients(loss_of, state, rows, accumulate)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if average is not None:
            average = moved(average, params, statistics, decay=average_decay, step=state.step)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        new = TrainState(
            state.step + 1, params, statistics, rng, optimizer_state, average, state.graphdef
        )
        return new, metrics

    return TrainStep(step)


def _gradients(
    loss_of: Callable[..., Any], state: TrainState, rows: Batch, parts: int
) -> tuple[Tree, Tree, Tree, Metrics]:
    """Return the mean gradient over the parts, the new statistics and streams, the metrics."""
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
    gradients, metrics = (
        jax.tree.map(lambda leaf: leaf / parts, total),
        jax.tree.map(lambda leaf: leaf.mean(), metrics),
    )
    return gradients, statistics, rng, metrics


def _split(rows: Batch, parts: int) -> Batch:
    """Return the rows in parts, of shape ``(parts, n / parts, ...)``.

    Each takes every `parts`-th row, so that a batch that is spread over devices stays so: no row
    moves to another device.
    """
    size = rows["label"].shape[0]
    if size % parts:
        raise ValueError(f"`accumulate` must divide the batch's {size} rows, got {parts}")

    def split(leaf: jax.Array) -> jax.Array:
        return jnp.moveaxis(leaf.reshape(size // parts, parts, *leaf.shape[1:]), 1, 0)

    return jax.tree.map(split, rows)


def make_eval_step(
    *, average: bool = False, prepare: Prepare = as_float
) -> Callable[[TrainState, Batch], Metrics]:
    """Make an evaluation step.

    Args:
        average: whether the moving average is evaluated in place of the network itself.
        prepare: what is done to the images first, such as `normalize`.

    Returns:
        A function of a state and a batch. It returns the sums ``loss``, ``correct``, ``correct5``
        and ``count`` over the rows, each of shape ``()`` and still on the device, to be added up
        over batches by `add`. Rows whose ``weight`` is 0 count nothing.
    """

    @jax.jit
    def step(state: TrainState, batch: Batch) -> Metrics:
        model: Any = nnx.merge(state.graphdef, *weights_of(state, average=average), state.rng)
        model.eval()
        logits = model(prepare(batch["image"]))
        losses = cross_entropy(logits, batch["label"])
        weight = batch.get("weight", jnp.ones_like(losses))
        return evaluation_sums(losses, logits, batch["label"], weight)

    return step
