# pyright: basic
"""A network's whole training step with flaxblocks, as people run it."""

from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flaxblocks.bench.sides.answers import step_answer
from flaxblocks.bench.sides.jax_device import kernels_of, peak_memory
from flaxblocks.bench.tasks.subjects import subject
from flaxblocks.bench.tasks.task import SGD, Data, Prepared, Task
from flaxblocks.train.step.state import create_state
from flaxblocks.train.step.train_step import make_train_step
from flaxblocks.weights import load_state_dict, state_dict


def training_step(task: Task, data: Data) -> Prepared:
    """Prepare a task in mode ``"step"``."""
    model = subject(task.subject).abstract(task.dtype)
    load_state_dict(model, data.weights, data.names)
    optimizer = optax.chain(
        optax.add_decayed_weights(SGD["weight_decay"]),
        optax.sgd(SGD["learning_rate"], SGD["momentum"]),
    )
    state = create_state(model, optimizer)
    step = make_train_step(optimizer)
    batch = {"image": jnp.asarray(data.x, task.dtype), "label": jnp.asarray(data.target)}
    started = perf_counter()
    compiled = step.lower(state, batch).compile()
    compile_seconds = perf_counter() - started
    leaves, metrics = compiled(jax.tree.leaves(state), batch, [])
    trained = jax.tree.unflatten(jax.tree.structure(state), leaves).model()
    new = state_dict(trained, data.names)
    held = [leaves]

    def run() -> jax.Array:
        held[0], metrics = compiled(held[0], batch, [])
        return metrics["loss"]

    return Prepared(
        run=run,
        wait=jax.block_until_ready,
        answer=step_answer(task, data, np.asarray(metrics["loss"]), new),
        compile_seconds=compile_seconds,
        memory=None if task.device == "cpu" else lambda: peak_memory(compiled),
        kernels=lambda: kernels_of(run),
    )
