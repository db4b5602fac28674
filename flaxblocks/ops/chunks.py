"""A few images at a time, so that what a CPU computes stays in its cache."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from flaxblocks.ops.equations import equations
from flaxblocks.ops.switch import is_plain

# Bytes that the widest array may take. With 2 cores and 1 MB of private cache each, an MBConv on
# 8x56x56, 24 to 144 channels, takes 20 ms at once and 7 ms in chunks; past about 10 MB it takes
# twice as long and more, below 4 MB the smaller products cost what the cache saves.
CACHE = 10 * 2**20


def in_chunks(
    function: Callable[[jax.Array], jax.Array], x: jax.Array, *, cache: int = CACHE
) -> jax.Array:
    """Return ``function(x)``; on CPU, from as many images at a time as fit in the cache.

    An inverted residual's wide array of a whole batch is written to memory and read back several
    times; that of a few images stays in the cache. The choice is made for the platform that the
    program is lowered for: elsewhere, and inside `plain_convolution`, it is one call.

    >>> block = fb.MBConv(8, 8, rngs=nnx.Rngs(0))
    >>> block.eval()
    >>> fb.ops.in_chunks(block, jnp.ones((4, 9, 9, 8))).shape
    (4, 9, 9, 8)

    Args:
        function: computes each image of the result from the same image of its argument alone, and
            changes nothing: a module in eval mode, not in train mode.
        x: images, of shape ``(n, ...)``. Chunks divide `n`, so a prime one makes chunks of 1.
        cache: bytes that the widest array in `function` may take.

    Returns:
        The result, of shape ``(n, ...)``.
    """
    n = x.shape[0]
    if is_plain() or not isinstance(n, int):  # n may be known only when the exported program runs
        return function(x)

    def once(x: jax.Array) -> jax.Array:
        # A function of its own: JAX remembers the trace, and so the weights, of one that it knows.
        return function(x)

    limit = cache // _widest(once, x)
    chunk = max((size for size in range(1, n + 1) if n % size == 0 and size <= limit), default=1)
    if chunk >= n:
        return function(x)

    def mapped(x: jax.Array) -> jax.Array:
        y = lax.map(once, x.reshape(n // chunk, chunk, *x.shape[1:]))
        return y.reshape(n, *y.shape[2:])

    return lax.platform_dependent(x, cpu=mapped, default=once)


def _widest(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> int:
    """Return the bytes of the widest array that one image takes."""
    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    jaxpr = jax.make_jaxpr(function)(one).jaxpr
    arrays: list[Any] = [v.aval for e in equations(jaxpr) for v in e.outvars]
    return max((a.size * a.dtype.itemsize for a in arrays if hasattr(a, "dtype")), default=1)
