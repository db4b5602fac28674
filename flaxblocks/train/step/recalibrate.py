# pyright: basic
"""Statistics of the normalizations from some batches, in place of the running ones."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.train.step.normalize import Prepare, as_float
from flaxblocks.train.step.state import Batch, TrainState, Tree


def recalibrate(
    state: TrainState, batches: Iterable[Batch], *, prepare: Prepare = as_float
) -> TrainState:
    """Return the state with the mean statistics of some batches, of its parameters as they are.

    Running statistics remember their first values for a long time: with a momentum of 0.99 a
    network that was trained for a hundred steps still has a third of them, and is wrong in eval
    mode however well it learned. The moving average, where there is one, gets statistics of its
    own. Parameters, and normalizations that keep their statistics, stay as they are.

    Args:
        state: the network, which is not consumed.
        batches: of training images, in random order, on the devices.
        prepare: prepares a batch on the device, as in training.

    Raises:
        ValueError: if there is no batch.

    Source: Izmailov et al. 2018, Stochastic Weight Averaging, section 3.3;
        `torch.optim.swa_utils.update_bn`.
    """
    fresh = _without_memory(state)
    rest = state.frozen, state.statistics, state.rng
    trained = [state.params] if state.average is None else [state.params, state.average[0]]
    means = [state.statistics] * len(trained)
    count = 0
    for count, batch in enumerate(batches, 1):
        number = jnp.asarray(count, jnp.int32)
        means = [
            _update(fresh, prepare, mean, (params, *rest), batch, number)
            for mean, params in zip(means, trained, strict=True)
        ]
    if not count:
        raise ValueError("`batches` must be one or more, got none")
    average = None if state.average is None else (state.average[0], means[1])
    return replace(state, statistics=means[0], average=average)


def remembered(model: nnx.Module, steps: int) -> float:
    """Return the part that the first values still have in the running statistics after training.

    Args:
        model: the network.
        steps: how long it is trained.
    """
    norms = (node for _, node in nnx.iter_graph(model) if isinstance(node, nnx.BatchNorm))
    return max(
        (float(n.momentum) ** steps for n in norms if not n.use_running_average), default=0.0
    )


# Its compiled program serves every call for a network, as after each epoch.
@jax.jit(static_argnums=(0, 1))
def _update(
    fresh: Any,
    prepare: Prepare,
    means: Tree,
    variables: tuple[Tree, ...],
    batch: Batch,
    count: jax.Array,
) -> Tree:
    """Return the means with the statistics of one more batch."""
    model: Any = nnx.merge(fresh, *variables)
    model(prepare(batch)["image"])
    found = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    return jax.tree.map(lambda mean, new: _updated(mean, new, count), means, found)


def _updated(mean: jax.Array, new: jax.Array, count: jax.Array) -> jax.Array:
    """Return the mean with one more; a count of batches stays as it was."""
    if not jnp.issubdtype(mean.dtype, jnp.floating):
        return mean
    return mean + (new - mean) / count.astype(mean.dtype)


def _without_memory(state: TrainState) -> Any:
    """Return the network's structure with normalizations that keep a batch's own statistics."""
    model: Any = nnx.merge(state.graphdef, *state.variables())
    norms = [node for _, node in nnx.iter_graph(model) if isinstance(node, nnx.BatchNorm)]
    for norm in norms:
        norm.momentum = 0.0
    return nnx.split(model)[0]
