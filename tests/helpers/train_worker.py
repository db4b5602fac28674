"""One process of a run over several devices: prints what the training came to.

``python -m tests.helpers.train_worker PATH STEPS RULE [ADDRESS COUNT PROCESS]``
"""

import sys

import jax
import numpy as np
import optax
from jax.experimental import multihost_utils

from flaxblocks.train import (
    CrossEntropy,
    create_state,
    make_mesh,
    make_train_step,
    place_state,
    shard_batch,
)
from flaxblocks.train.step.sharding import Rule, replicate, shard_largest
from flaxblocks.train.step.state import TrainState
from tests.helpers.train_nets import batch, float64_net

ROWS = 16
RULES = {"replicate": replicate, "shard_largest": shard_largest}
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


def train(
    devices: list | None, steps: int, rule: Rule = replicate, groups: int = 1
) -> tuple[TrainState, list]:
    """Train on the same global batches, however many devices share them."""
    mesh = make_mesh(devices, groups)
    state = place_state(mesh, create_state(float64_net(), OPTIMIZER, average=True), rule)
    step = make_train_step(OPTIMIZER, loss=CrossEntropy(0.1))
    rows = slice(jax.process_index(), None, jax.process_count())
    losses = []
    for number in range(steps):
        data = {name: values[rows] for name, values in batch(ROWS, seed=number).items()}
        state, metrics = step(state, shard_batch(mesh, data))
        losses.append(float(metrics["loss"]))
    return state, losses


if __name__ == "__main__":
    path, steps, rule, *cluster = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    if cluster:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        address, count, process = cluster
        jax.distributed.initialize(address, int(count), int(process))
    state, losses = train(None, int(steps), RULES[rule])
    whole = multihost_utils.process_allgather((state.params, state.statistics), tiled=True)
    if jax.process_index() == 0:
        leaves = {str(number): leaf for number, leaf in enumerate(jax.tree.leaves(whole))}
        np.savez(path, losses=losses, **leaves)
