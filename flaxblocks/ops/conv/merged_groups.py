"""A convolution of narrow groups as one of fewer, wider groups.

A matrix unit multiplies blocks of 64 channels and more; a group of 24 leaves most of it idle. Here
several groups are merged into one with a block-diagonal kernel. The products with its zeros are
wasted, and a NaN or infinity spreads to the channels of its wide group.
"""

import jax
import jax.numpy as jnp

from flaxblocks.ops.conv import xla
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.roles import Role, by_role


def merging(count: int) -> dict[str, Role]:
    """Return the three roles of the form that makes one group of so many.

    Args:
        count: a divisor of the number of groups.
    """

    def convolve(
        x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: jax.lax.PrecisionLike
    ) -> jax.Array:
        wide = geometry.with_groups(geometry.groups // count)
        return xla.convolve(x, _block_diagonal(kernel, geometry.groups, count), wide, precision)

    return by_role(convolve)


def _block_diagonal(kernel: jax.Array, groups: int, count: int) -> jax.Array:
    """Return the kernel of the wide groups; its transpose keeps what lies in the blocks."""
    height, width, inputs, outputs = kernel.shape
    blocks = kernel.reshape(height, width, 1, inputs, groups // count, count, outputs // groups)
    row = jnp.arange(count)
    own = (row[:, None] == row)[:, None, None, :, None]  # (count, 1, 1, count, 1)
    return jnp.where(own, blocks, 0).reshape(height, width, count * inputs, outputs)
