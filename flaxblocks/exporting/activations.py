# pyright: reportUnknownMemberType=false
"""Activations as programs outside JAX have them: forward only, each one operation by name.

The library's own have PyTorch's gradients at their kinks, by comparisons that a converter takes
for what they are. An exported model is not differentiated, and other runtimes know the functions
by name, or as clipping.
"""

from types import FunctionType

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.ops import activations


def relu6(x: jax.Array) -> jax.Array:
    """Return ``min(max(x, 0), 6)``."""
    return jnp.clip(x, 0, 6)


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """Return ``relu6(x + 3) / 6``."""
    return jnp.clip(x + 3, 0, 6) * (1 / 6)


def hard_swish(x: jax.Array) -> jax.Array:
    """Return ``x * relu6(x + 3) / 6``."""
    return x * (jnp.clip(x + 3, 0, 6) * (1 / 6))


def gelu_exact(x: jax.Array) -> jax.Array:
    """Return ``x * Phi(x)``."""
    return x * (0.5 * (1 + jax.lax.erf(x * 0.5**0.5)))


FORWARD = {
    activations.relu6: relu6,
    activations.hard_sigmoid: hard_sigmoid,
    activations.hard_swish: hard_swish,
    activations.gelu: gelu_exact,
}

_compiled = {function: jax.jit(forward) for function, forward in FORWARD.items()}

BY_NAME = {forward.__name__: _compiled[function] for function, forward in FORWARD.items()}
"""By what a jaxpr calls them."""


def use_forward_activations(model: nnx.Module) -> None:
    """Replace the activations of a model, in place, by the same functions without derivatives."""
    for _, module in nnx.iter_modules(model):
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value in _compiled:
                setattr(module, name, _compiled[value])
