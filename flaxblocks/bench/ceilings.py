"""What the machine does at best: a large matrix product and a large copy."""

from time import perf_counter

import jax
import jax.numpy as jnp

from flaxblocks.bench import worker
from flaxblocks.bench.jax_side import use_device
from flaxblocks.bench.results import Ceilings
from flaxblocks.bench.task import Task

CALLS = 10

SIDE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}
"""Rows and columns of the matrices."""

COPIED = {"cpu": 2**26, "gpu": 2**29, "tpu": 2**29}
"""Numbers to copy, far more than any cache holds."""


def ceilings(task: Task) -> Ceilings:
    """Measure both, in a process of their own, with a task's dtype, device and threads.

    Raises:
        RuntimeError: if there is no such device.
    """
    with worker.process(task.threads) as process:
        return process.submit(_measure, task).result()


def _measure(task: Task) -> Ceilings:
    device = use_device(task)
    side, copied = SIDE[task.device], COPIED[task.device]
    with jax.default_device(device):
        matrix = jnp.full((side, side), 1 / side, task.dtype)
        product = _fastest(lambda x: x @ x, matrix)
        numbers = jnp.zeros(copied, task.dtype)
        copy = _fastest(lambda x: x + 1, numbers)
    return Ceilings(
        flops=2 * side**3 / product,
        bandwidth=2 * numbers.nbytes / copy,
        device=device.device_kind,
    )


def _fastest(function, x: jax.Array) -> float:
    compiled = jax.jit(function).lower(x).compile()
    jax.block_until_ready(compiled(x))
    seconds = []
    for _ in range(CALLS):
        started = perf_counter()
        jax.block_until_ready(compiled(x))
        seconds.append(perf_counter() - started)
    return min(seconds)
