# pyright: reportUnknownMemberType=false
"""What JAX does not follow where sharding is explicit, and where each device's images stay."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec


def reshape_images(images: jax.Array, *shape: int) -> jax.Array:
    """Return each image in another shape, as ``images.reshape(n, *shape)`` does.

    Args:
        images: array of shape ``(n, ...)``, sharded over `n` alone.
        shape: of one image; -1 stands for what is left.

    Returns:
        Output of shape ``(n, *shape)``.
    """
    return jnp.reshape(images, (images.shape[0], *shape), out_sharding=_over_images(images))


def of_images(
    function: Callable[..., jax.Array], images: jax.Array, *others: jax.Array
) -> jax.Array:
    """Return ``function(images, *others)``, whose sharding XLA finds.

    Args:
        function: returns an array of shape ``(n, ...)``.
        images: array of shape ``(n, ...)``, sharded over `n` alone.
        others: more arrays.
    """
    spec = _over_images(images)
    if spec is None:
        return function(images, *others)
    function = cast(Callable[..., jax.Array], jax.sharding.auto_axes(function, out_sharding=spec))
    return function(images, *others)


def _over_images(images: jax.Array) -> PartitionSpec | None:
    """Return how the first axis is sharded, None where sharding is not explicit."""
    sharding = jax.typeof(images).sharding
    explicit = AxisType.Explicit in sharding.mesh.axis_types
    return PartitionSpec(sharding.spec[0]) if explicit else None
