# pyright: reportUnknownMemberType=false
"""Normalization by the statistics of the batch, with its derivative written out."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from flaxblocks.ops.recompute import recompute

Finish = Callable[[jax.Array], jax.Array]
"""An elementwise function, applied to the normalized values in the same pass."""

Arrays = tuple[jax.Array, jax.Array, jax.Array]


@partial(jax.custom_jvp[Arrays], nondiff_argnums=(3, 4, 5, 6))
def batch_normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    axis_name: str | None,
    wide: DTypeLike,
    finish: Finish,
) -> Arrays:
    """Return ``finish((x - mean) / sqrt(var + epsilon) * scale + bias)``, mean and biased variance.

    Where values are far larger than their deviation, their sums lose it to rounding. So `x` is
    centered twice: on the mean of one pixel in 64, which costs next to nothing to read, and then on
    what is left of the mean, which XLA sums in the same pass as the squares.

    Differentiating through the two means would take five sums over the pixels. Written out, the
    derivative is a projection and takes two, which are the gradients of `scale` and `bias` too: a
    training step of an MBConv takes a tenth less time, a bottleneck a fifth less temporary memory.
    On an accelerator the backward pass reads `x` and the gradient twice and writes once, the least
    there is: what the derivative of `finish` needs is computed anew in both passes, not stored.
    The rule is made of differentiable operations and is linear in the tangents, so derivatives of
    every order and mode follow.

    Args:
        x: of shape ``(..., c)``.
        scale: one factor per channel, of shape ``(1, ..., 1, c)``, as are `bias` and what is
            returned of mean and variance.
        bias: one term per channel.
        epsilon: number added to the variance.
        axis_name: a mapped axis over which the statistics are averaged too.
        wide: dtype of the computation, and of `scale` and `bias`.
        finish: rounds and activates.
    """
    values = x.astype(wide)
    rough = _mean(_sparse(values), axis_name)
    distance = values - rough
    correction, square = _mean(distance, axis_name), _mean(jnp.square(distance), axis_name)
    var = jnp.maximum(square - jnp.square(correction), 0)
    y = (distance - correction) * (scale / jnp.sqrt(var + epsilon)) + bias
    return finish(y), rough + correction, var


@batch_normalize.defjvp
def _derivative(
    epsilon: float,
    axis_name: str | None,
    wide: DTypeLike,
    finish: Finish,
    primals: Arrays,
    tangents: Arrays,
) -> tuple[Arrays, Arrays]:
    x, scale, bias = primals
    dx, dscale, dbias = tangents
    y, mean, var = batch_normalize(x, scale, bias, epsilon, axis_name, wide, finish)
    inverse = 1 / jnp.sqrt(var + epsilon)
    dx = dx.astype(wide)
    distance = x.astype(wide) - mean
    standard = distance * inverse
    moved = dx * (scale * inverse)
    # Each in one bracket, so that its transpose is one sum, which bias and scale share with `x`.
    shift = dbias - _mean(moved, axis_name)
    stretch = dscale - _mean(moved * standard, axis_name)
    # Two terms, whose transposes are the two passes of the backward pass.
    again = (recompute(x).astype(wide) - mean) * inverse
    _, direct = jax.jvp(finish, (standard * scale + bias,), (moved,))
    _, by_statistics = jax.jvp(finish, (again * scale + bias,), (again * stretch + shift,))
    dmean, dvar = _mean(dx, axis_name), 2 * _mean(distance * dx, axis_name)
    return (y, mean, var), (direct + by_statistics, dmean, dvar)


def _sparse(x: jax.Array) -> jax.Array:
    """Return every 8th row and column of images; vectors as they are."""
    between = (slice(None, None, 8),) * (x.ndim - 2)
    return x[:, *between]


def _mean(x: jax.Array, axis_name: str | None) -> jax.Array:
    mean = x.mean(tuple(range(x.ndim - 1)), keepdims=True)
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)
