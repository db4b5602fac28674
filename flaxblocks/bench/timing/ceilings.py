# pyright: reportUnknownMemberType=false
"""The machine's ceilings: a large matrix product, and a copy of a large array."""

from collections.abc import Callable
from time import perf_counter

import jax
import jax.numpy as jnp

from flaxblocks.bench.report.results import Ceilings
from flaxblocks.bench.sides.jax_side import use_device
from flaxblocks.bench.tasks.task import Task
from flaxblocks.bench.timing import worker

CALLS = 20

SIDE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}
"""Rows and columns of the matrices."""

COPIED = {"cpu": 2**26, "gpu": 2**29, "tpu": 2**29}
"""Numbers to copy, far more than any cache holds."""


def ceilings(task: Task) -> Ceilings:
    """Measure both, in a process of their own, with a task's dtype, device and threads.

    Raises:
        RuntimeError: if there is no such device.
    """
    with worker.process(task) as process:
        return process.submit(_measure, task).result()


def _measure(task: Task) -> Ceilings:
    device = use_device(task)
    side, copied = SIDE[task.device], COPIED[task.device]
    with jax.default_device(device):
        matrix = jnp.full((side, side), 1 / side, task.dtype)
        product = _fastest(jax.jit(_squared), matrix)
        in_float32 = None
        if task.device != "cpu" and task.dtype != "float32":
            in_float32 = _fastest(jax.jit(_squared), matrix.astype(jnp.float32))
        numbers = jnp.zeros(copied, task.dtype)
        moved = 2 * numbers.nbytes
        # In place: new memory would have to be asked of the system, which costs more than copying.
        copy = _fastest(jax.jit(_incremented, donate_argnums=0), numbers)
    return Ceilings(
        flops=2 * side**3 / product,
        bandwidth=moved / copy,
        device=device.device_kind,
        float32_flops=None if in_float32 is None else 2 * side**3 / in_float32,
    )


def _squared(x: jax.Array) -> jax.Array:
    return x @ x


def _incremented(x: jax.Array) -> jax.Array:
    return x + 1


def _fastest(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    x = function(x).block_until_ready()
    seconds: list[float] = []
    for _ in range(CALLS):
        started = perf_counter()
        x = function(x).block_until_ready()
        seconds.append(perf_counter() - started)
    return min(seconds)
