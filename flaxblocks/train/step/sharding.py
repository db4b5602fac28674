# pyright: reportUnknownMemberType=false
"""Training on many devices: how batches and states are sharded.

The steps are the same functions on one device and on many hosts: they see whole batches, and XLA
divides the work as the arrays are sharded. With several processes, call
`jax.distributed.initialize` first; each process then gives its own rows to `shard_batch`.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from flaxblocks._base import checks
from flaxblocks.train.step.state import Batch, TrainState

AXIS = "data"
"""The mesh's last axis: sharded parameters are divided along it."""

GROUP = "group"
"""The first axis of a mesh of two: each group of devices holds all of the parameters."""

Rule = Callable[[tuple[int, ...], int], PartitionSpec]
"""Takes an array's shape and the number of devices of a group, which are all of them where there
are no groups, and returns how the array is sharded."""

SMALLEST = 1024  # elements; sharding less saves nothing and costs a message for each array


def make_mesh(devices: Sequence[Any] | None = None, groups: int = 1) -> Mesh:
    """Return a mesh over devices.

    Batches are divided over all of them; parameters, where a rule divides them, over the devices
    of a group, which are best those of one machine.

    Args:
        devices: in order; all devices of all processes where absent.
        groups: how many groups they form.

    Raises:
        TypeError: if `groups` is not an integer.
        ValueError: if the devices cannot form that many groups.
    """
    devices = list(cast("list[Any]", jax.devices()) if devices is None else devices)
    if len(devices) % checks.positive_int("groups", groups):
        raise ValueError(f"`groups` must divide the {len(devices)} devices, got {groups}")
    if groups == 1:
        return Mesh(np.asarray(devices), (AXIS,))
    return Mesh(np.asarray(devices).reshape(groups, -1), (GROUP, AXIS))


def shard_batch(mesh: Mesh, batch: Batch) -> Any:
    """Divide a batch's rows evenly over the devices.

    Args:
        mesh: the devices.
        batch: this process's rows, a pytree of arrays; every process has the same number.

    Returns:
        The global batch: the rows of all processes.

    Raises:
        ValueError: if this process's devices do not divide its rows.
    """
    devices = len(mesh.local_devices)
    sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))

    def shard(path: Any, rows: Any) -> jax.Array:
        if len(rows) % devices:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise ValueError(
                f"`batch` must have a number of rows that {devices} devices divide, got "
                f"{len(rows)} in {name!r}: leave the rest out, or pad it with rows of weight 0"
            )
        return jax.make_array_from_process_local_data(sharding, np.asarray(rows))

    return jax.tree_util.tree_map_with_path(shard, batch)


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
    """Shard a state over the devices.

    Args:
        mesh: the devices.
        state: the same in every process.
        rule: how each array is sharded; `replicate` or `shard_largest`.

    Returns:
        The same state, sharded. Train steps keep the sharding.
    """

    def place(leaf: Any) -> jax.Array:
        return _put(leaf, NamedSharding(mesh, rule(leaf.shape, mesh.shape[AXIS])))

    return jax.tree.map(place, state)


def replicate_like(like: jax.Array, arrays: list[Any]) -> list[jax.Array]:
    """Return the arrays whole on every device that holds `like`.

    Args:
        like: an array that is whole on each of its devices.
        arrays: the same in every process.
    """
    if not like.committed:
        return [jnp.asarray(array) for array in arrays]
    return [_put(array, like.sharding) for array in arrays]


def _put(leaf: Any, sharding: Sharding) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        # A key cannot be put on other processes' devices, but its data can; and keys are scalars,
        # which no rule divides.
        data = jax.device_put(jax.random.key_data(leaf), sharding)
        return cast(jax.Array, jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)))
    return jax.device_put(leaf, sharding)
