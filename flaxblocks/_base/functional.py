# pyright: basic
"""A module's passes as functions of its variables, for `jax.jit` and `jax.grad`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


def half_mean_square(output: jax.Array, target: jax.Array) -> jax.Array:
    """Return half the mean square of ``output - target``: the loss of every comparison."""
    return jnp.mean(jnp.square(output - target)) / 2


def loss_and_gradients(
    graphdef: Any,
    params: Any,
    rest: Any,
    x: Any,
    target: Any,
    *,
    loss: Callable[[Any, Any], jax.Array] = half_mean_square,
    apply: Callable[[nnx.Module, Any], Any] = lambda module, x: (module(x), None),
    wrt: int | tuple[int, ...] = (0, 1),
) -> tuple[jax.Array, Any, Any, Any]:
    """Run a module forward and backward; nothing is updated.

    Args:
        graphdef: the module's structure, of ``nnx.split(module, nnx.Param, ...)``.
        params: its parameters.
        rest: its other variables.
        x: the input: an array, or a structure of them.
        target: what the loss compares the output with.
        loss: the loss of output and target.
        apply: returns the module's output, and what else is wanted.
        wrt: what is differentiated: 0 for the parameters, 1 for the input, or both.

    Returns:
        The loss, the new statistics, the gradients, and what else `apply` returned.
    """

    def loss_of(params: Any, x: Any) -> Any:
        module = nnx.merge(graphdef, params, rest, copy=True)  # its statistics are updated
        output, more = apply(module, x)
        return loss(output, target), (nnx.state(module, nnx.BatchStat), more)

    differentiated = jax.value_and_grad(loss_of, wrt, has_aux=True)
    (value, (statistics, more)), gradients = differentiated(params, x)
    return value, statistics, gradients, more
