"""How blocks are built without a part, and skip it."""

from collections.abc import Callable
from typing import Any

import jax

from flaxblocks._base import checks

ModuleFactory = Callable[..., Callable[[jax.Array], jax.Array]]


def apply(function: Callable[[jax.Array], jax.Array] | None, x: jax.Array) -> jax.Array:
    """Return ``function(x)``, or `x` itself where there is no function."""
    return x if function is None else function(x)


def build(
    name: str, factory: ModuleFactory | None, features: int, **arguments: Any
) -> Callable[[jax.Array], jax.Array] | None:
    """Return the module ``factory(features, **arguments)``, or None where there is no factory.

    Raises:
        TypeError: if the factory, the argument called `name`, cannot be called.
    """
    make = checks.function(name, factory, optional=True)
    return None if make is None else make(features, **arguments)
