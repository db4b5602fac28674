# pyright: reportUnknownMemberType=false
"""Evaluation: sums over the rows of each batch, which stay on the device until the end."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.train.step.losses import cross_entropy
from flaxblocks.train.step.normalize import Prepare, as_float
from flaxblocks.train.step.state import Batch, Metrics, TrainState

Scores = Callable[[Any, Batch], Metrics]
"""Takes the network, in eval mode, and a batch, and returns sums over its rows, each of shape
``()``; ``count``, the number of rows, among them."""


def classification_scores(model: Any, batch: Batch) -> Metrics:
    """Return the sums of a classifier: ``loss``, ``accuracy``, ``accuracy5`` and ``count``.

    ``accuracy5`` counts the rows whose label is among the five largest logits. Rows whose
    ``weight`` is 0 count nothing, whatever is in them.
    """
    logits, label = model(batch["image"]), batch["label"]
    losses = cross_entropy(logits, label)
    weight = batch.get("weight", jnp.ones_like(losses))
    _, best = jax.lax.top_k(logits, min(5, logits.shape[-1]))
    hits = best == label[:, None]

    def total(values: jax.Array) -> jax.Array:
        # Not a product alone: a row of padding may have an infinite loss.
        return jnp.where(weight > 0, values * weight, 0).sum()

    return {
        "loss": total(losses),
        "accuracy": total(hits[:, 0]),
        "accuracy5": total(hits.any(-1)),
        "count": weight.sum(),
    }


def make_eval_step(
    *,
    scores: Scores = classification_scores,
    average: bool = False,
    prepare: Prepare = as_float,
) -> Callable[[TrainState, Batch], Metrics]:
    """Make an evaluation step.

    Args:
        scores: what is counted.
        average: whether the moving average is evaluated in place of the network itself.
        prepare: prepares the batch on the device, such as `normalize`.

    Returns:
        A compiled function of a state and a batch. It returns sums over the rows, which
        `evaluate` adds up over batches, and `means` divides.
    """

    @jax.jit
    def step(state: TrainState, batch: Batch) -> Metrics:
        model: Any = nnx.merge(state.graphdef, *state.variables(average=average))
        model.eval()
        return scores(model, prepare(batch))

    return step


def means(sums: Metrics) -> dict[str, float]:
    """Return the sums divided by ``count``; this waits for the device.

    Raises:
        ValueError: if nothing was counted.
    """
    totals = {name: float(total) for name, total in jax.device_get(sums).items()}
    count = totals.pop("count")
    if not count:
        raise ValueError("`sums` must count at least one sample, got a count of 0")
    return {name: total / count for name, total in totals.items()}


def evaluate(
    step: Callable[[TrainState, Batch], Metrics], state: TrainState, batches: Iterable[Batch]
) -> dict[str, float]:
    """Return the means over all batches.

    Args:
        step: an evaluation step, see `make_eval_step`.
        state: the network.
        batches: on the devices, such as a `Feed` of `evaluation_batches`.

    Raises:
        ValueError: if there is no batch, or no row counts.
    """
    sums = evaluation_sums(step, state, batches)
    if sums is None:
        raise ValueError("`batches` must be one or more, got none")
    return means(sums)


def evaluation_sums(
    step: Callable[[TrainState, Batch], Metrics], state: TrainState, batches: Iterable[Batch]
) -> Metrics | None:
    """Return the sums over all batches, still on the device; None where there is no batch.

    Args:
        step: an evaluation step, see `make_eval_step`.
        state: the network.
        batches: see `evaluate`.
    """
    sums = None
    for batch in batches:
        more = step(state, batch)
        sums = more if sums is None else jax.tree.map(jnp.add, sums, more)
    return sums
