"""A few images at a time, so that what a CPU computes stays in its cache."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import lax
from jax.extend.core import Jaxpr

from flaxblocks.ops.jaxprs import jaxprs_in
from flaxblocks.ops.switch import is_plain

# Bytes that the widest array within may take. With 2 cores and 1 MB of private cache each, an
# MBConv on 8x56x56, 24 to 144 channels, takes 20 ms at once and 7 ms in chunks; past about 10 MB it
# takes twice as long and more, below 4 MB the smaller products cost what the cache saves.
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
        cache: bytes that the widest array may take; it is one call where those that come and go in
            `function` fit as they are.

    Returns:
        The result, of shape ``(n, ...)``.
    """
    n = x.shape[0]
    if is_plain() or not isinstance(n, int):  # n may be known only when the exported program runs
        return function(x)

    def once(x: jax.Array) -> jax.Array:
        # A function of its own: JAX remembers the trace, and so the weights, of one that it knows.
        return function(x)

    passing, widest = _widest(once, x)
    if n * passing <= cache or n == 1:
        return function(x)
    sizes = (size for size in range(1, n) if n % size == 0 and size * widest <= cache)
    chunk = max(sizes, default=1)

    def mapped(x: jax.Array) -> jax.Array:
        y = lax.map(once, x.reshape(n // chunk, chunk, *x.shape[1:]))
        return y.reshape(n, *y.shape[2:])

    return lax.platform_dependent(x, cpu=mapped, default=once)


def _widest(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> tuple[int, int]:
    """Return the bytes of one image in the widest array that comes and goes within, and in any.

    What the function takes and returns is in memory anyway: where nothing else is wide, chunks
    only add copies. A depthwise convolution on 8x56x56x144 takes 2.2 ms in two chunks, 0.6 at once.
    """
    one = jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    jaxpr = jax.make_jaxpr(function)(one).jaxpr
    passing = max(map(_bytes, _passing(jaxpr)), default=0)
    return passing, max(passing, *map(_bytes, (*jaxpr.invars, *jaxpr.outvars)))


def _passing(jaxpr: Jaxpr) -> Iterator[Any]:
    """Yield the variables that are not results; those of a function within are its caller's."""
    for equation in jaxpr.eqns:
        yield from (v for v in equation.outvars if v not in jaxpr.outvars)
        for inner in jaxprs_in(equation):
            yield from _passing(inner)


def _bytes(variable: Any) -> int:
    array = variable.aval
    return array.size * array.dtype.itemsize if hasattr(array, "dtype") else 0
