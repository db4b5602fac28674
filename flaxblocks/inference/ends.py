"""The first and the last layers of a network with native pools.

XLA's own threads, which its pools wake, look for more work for a while and take the processors from
those of the kernels that follow.
"""

import jax

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers.optional import apply
from flaxblocks.ops import max_pool
from flaxblocks.ops.native import pool as kernel
from flaxblocks.ops.pool import pool_geometry
from flaxblocks.ops.program import Program


def stem(program: Program, stem: Stem, x: jax.Array) -> jax.Array | None:
    """Compute a `Stem` that ends in a max-pool."""
    if not program.kernels or stem.pool is not max_pool:
        return None
    x = stem.convolve(x)
    if not kernel.fits("max_pool", x, program.kernels):
        return max_pool(x)
    return kernel.max_pool(x, pool_geometry(x, 3, 2, (1, 1)))


def head(program: Program, head: Head, x: jax.Array) -> jax.Array | None:
    """Compute a `Head`."""
    if not program.kernels or type(head).pool is not Head.pool:
        return None

    def mean(x: jax.Array) -> jax.Array:
        return kernel.mean(x) if kernel.fits("mean", x, program.kernels) else x.mean((1, 2))

    return apply(head.classifier, head.pool(x, mean))
