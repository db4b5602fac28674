"""Training on many devices: where a batch lies, and where a state does.

The steps are the same functions on one device and on many hosts: they see whole batches, and XLA
divides the work as the arrays are divided. With several processes, call
`jax.distributed.initialize` first; each process then gives its own rows to `shard_batch`.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flaxblocks.train.step.state import Batch, TrainState

AXIS = "data"
"""The one axis of the mesh: batches, and sharded parameters, are divided along it."""

Rule = Callable[[tuple[int, ...], int], PartitionSpec]
"""Says how an array lies: from its shape and the number of devices."""

SMALLEST = 1024  # numbers; dividing less saves nothing and costs a message for each


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Return a mesh of one axis over the devices, those of all processes where absent."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.asarray(devices), (AXIS,))


def shard_batch(mesh: Mesh, batch: Batch) -> dict[str, jax.Array]:
    """Divide a batch's rows evenly over the devices.

    Args:
        mesh: the devices.
        batch: this process's rows; every process has as many.

    Returns:
        The global batch: the rows of all processes.

    Raises:
        ValueError: if this process's devices do not divide its rows.
    """
    devices = len(mesh.local_devices)
    for name, rows in batch.items():
        if len(rows) % devices:
            raise ValueError(
                f"`batch` must have a number of rows that {devices} devices divide, got "
                f"{len(rows)} in {name!r}: leave the rest out, or pad it with rows of weight 0"
            )
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(rows))
        for name, rows in batch.items()
    }


def replicate(shape: tuple[int, ...], devices: int) -> PartitionSpec:
    """Keep the whole array on each device: a `Rule`."""
    return PartitionSpec()


def shard_largest(shape: tuple[int, ...], devices: int) -> PartitionSpec:
    """Divide the longest axis that the devices divide, and leave small arrays whole: a `Rule`.

    Each device then holds its part of the parameters and of the optimizer's state, and XLA
    gathers what a layer needs while it runs.

    Source: Rajbhandari et al. 2020 (ZeRO), stage 3.
    """
    divisible = [axis for axis, size in enumerate(shape) if size % devices == 0]
    if prod(shape) < SMALLEST or not divisible:
        return PartitionSpec()
    longest = max(divisible, key=lambda axis: shape[axis])
    return PartitionSpec(*(AXIS if axis == longest else None for axis in range(len(shape))))


def place_state(mesh: Mesh, state: TrainState, rule: Rule = replicate) -> TrainState:
    """Lay a state out over the devices.

    Args:
        mesh: the devices.
        state: the same in every process.
        rule: how each array lies; `replicate` or `shard_largest`.

    Returns:
        The same numbers in their places. Train steps keep them there.
    """

    def place(leaf: jax.Array) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            # Keys cannot be put on other processes' devices, but the numbers in them can, whole.
            whole = NamedSharding(mesh, PartitionSpec())
            numbers = jax.device_put(jax.random.key_data(leaf), whole)
            return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))
        return jax.device_put(leaf, NamedSharding(mesh, rule(leaf.shape, mesh.size)))

    return jax.tree.map(place, state)
