"""How blocks skip what they were built without."""

from collections.abc import Callable

import jax


def apply(function: Callable[[jax.Array], jax.Array] | None, x: jax.Array) -> jax.Array:
    """Return ``function(x)``, or `x` itself where there is no function."""
    return x if function is None else function(x)
