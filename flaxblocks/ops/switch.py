"""The switch that sends every convolution to JAX's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

# Part of jit's cache key: a function that was traced with one setting is traced again in the other.
_plain = jax.make_user_context(False)


@contextmanager
def plain_convolution() -> Iterator[None]:
    """Send every convolution that is traced inside to `jax.lax.conv_general_dilated` unchanged.

    A jitted function is compiled once with and once without, whichever comes first.

    >>> with fb.ops.plain_convolution():
    ...     y = fb.Conv(3, 8, 3, rngs=nnx.Rngs(0))(jnp.ones((1, 7, 7, 3)))
    """
    with _plain(True):
        yield


def is_plain() -> bool:
    """Return whether a `plain_convolution` is around."""
    return _plain.value
