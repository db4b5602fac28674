"""A network's last layers with a native mean.

XLA's own threads, which its mean wakes, look for more work for a while and take the processors from
those of the kernels that follow.
"""

import jax

from flaxblocks.blocks import Head
from flaxblocks.blocks.head import image_mean
from flaxblocks.layers.optional import apply
from flaxblocks.ops.native import pool as kernel
from flaxblocks.ops.program import Program


def head(program: Program, head: Head, x: jax.Array) -> jax.Array | None:
    """Compute a `Head`."""
    if not program.kernels or type(head).pool is not Head.pool:
        return None

    def mean(x: jax.Array) -> jax.Array:
        fits = kernel.fits(x, program.kernels)
        return kernel.mean(x) if fits else image_mean(x)

    return apply(head.classifier, head.pool(x, mean))
