# pyright: reportUnknownMemberType=false
"""Normalization by the statistics of the batch, with its derivative written out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from flaxblocks._base.jax_internals import varying_axes
from flaxblocks.ops import activations
from flaxblocks.ops.activations import Activation
from flaxblocks.ops.fused import fused, register_forms
from flaxblocks.ops.native import batch_norm as kernel
from flaxblocks.ops.program import Program
from flaxblocks.ops.recompute import recompute
from flaxblocks.ops.transposable import transposable


@dataclass(frozen=True)
class Finish:
    """What is applied to the normalized values in the same pass.

    Args:
        dtype: of the result.
        act: elementwise activation; None for none.
    """

    dtype: DTypeLike
    act: Activation | None = None

    def __call__(self, y: jax.Array) -> jax.Array:
        """Round and activate."""
        y = y.astype(self.dtype)
        if self.act is None:
            return y
        # By the sign of its input, which is computed anew: nothing is stored.
        return jax.nn.relu(y) if self.act is activations.relu else self.act(y)


Arrays = tuple[jax.Array, jax.Array, jax.Array]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Rule:
    """What is the same for all values: see `batch_normalize`."""

    epsilon: float
    axis_name: str | None
    wide: DTypeLike
    finish: Callable[[jax.Array], jax.Array]


@partial(jax.custom_jvp[Arrays], nondiff_argnums=(3, 4, 5, 6))
def batch_normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    axis_name: str | None,
    wide: DTypeLike,
    finish: Callable[[jax.Array], jax.Array],
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
    every order and mode follow. On CPU the forward pass is one native kernel and the backward pass
    another, unless the statistics are those of several devices.

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
    rule = Rule(epsilon, axis_name, wide, finish)
    if _is_local(rule, x):
        return fused(_normalized, rule, x, scale, bias)
    return _normalized(rule, x, scale, bias)


@batch_normalize.defjvp
def _derivative(
    epsilon: float,
    axis_name: str | None,
    wide: DTypeLike,
    finish: Callable[[jax.Array], jax.Array],
    primals: Arrays,
    tangents: Arrays,
) -> tuple[Arrays, Arrays]:
    rule = Rule(epsilon, axis_name, wide, finish)
    x, scale, bias = primals
    y, mean, var = batch_normalize(x, scale, bias, epsilon, axis_name, wide, finish)
    dx, dscale, dbias = tangents
    if _is_local(rule, x):
        others = x, mean, var, scale, bias
        dy = transposable(_tangent, _transposed, rule, tangents, others)
    else:
        dy = _tangent(rule, dx, dscale, dbias, x, mean, var, scale, bias)
    dx = dx.astype(wide)
    dmean = _mean(dx, axis_name)
    dvar = 2 * _mean((x.astype(wide) - mean) * dx, axis_name)
    return (y, mean, var), (dy, dmean, dvar)


def _is_local(rule: Rule, x: jax.Array) -> bool:
    """Return whether the statistics are those of the array, not of several devices."""
    return rule.axis_name is None and not varying_axes(x)


def _normalized(rule: Rule, x: jax.Array, scale: jax.Array, bias: jax.Array) -> Arrays:
    values = x.astype(rule.wide)
    rough = _mean(_sparse(values), rule.axis_name)
    distance = values - rough
    correction = _mean(distance, rule.axis_name)
    square = _mean(jnp.square(distance), rule.axis_name)
    var = jnp.maximum(square - jnp.square(correction), 0)
    y = (distance - correction) * (scale / jnp.sqrt(var + rule.epsilon)) + bias
    return rule.finish(y), rough + correction, var


def _tangent(
    rule: Rule,
    dx: jax.Array,
    dscale: jax.Array,
    dbias: jax.Array,
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
) -> jax.Array:
    """Return the tangent of the result, which is linear in those of input, scale and bias."""
    inverse = 1 / jnp.sqrt(var + rule.epsilon)
    dx = dx.astype(rule.wide)
    standard = (x.astype(rule.wide) - mean) * inverse
    moved = dx * (scale * inverse)
    # Each in one bracket, so that its transpose is one sum, which bias and scale share with `x`.
    shift = dbias - _mean(moved, rule.axis_name)
    stretch = dscale - _mean(moved * standard, rule.axis_name)
    # Two terms, whose transposes are the two passes of the backward pass.
    again = (recompute(x).astype(rule.wide) - mean) * inverse
    _, direct = jax.jvp(rule.finish, (standard * scale + bias,), (moved,))
    _, by_statistics = jax.jvp(rule.finish, (again * scale + bias,), (again * stretch + shift,))
    return direct + by_statistics


def _transposed(rule: Rule, g: jax.Array, *others: jax.Array) -> tuple[jax.Array, ...]:
    """Return the gradients with respect to input, scale and bias."""
    x, _, _, scale, bias = others

    def tangent(*tangents: jax.Array) -> jax.Array:
        return _tangent(rule, *tangents, *others)

    return cast(Arrays, jax.linear_transpose(tangent, x, scale, bias)(g))


def _normalized_on_cpu(
    program: Program, rule: Rule, x: jax.Array, scale: jax.Array, bias: jax.Array
) -> tuple[jax.Array, ...] | None:
    finish = _finish_of_kernels(program, rule, x)
    return None if finish is None else kernel.normalize(x, scale, bias, rule.epsilon, finish.act)


def _transposed_on_cpu(
    program: Program, rule: Rule, g: jax.Array, x: jax.Array, *others: jax.Array
) -> tuple[jax.Array, ...] | None:
    finish = _finish_of_kernels(program, rule, x)
    return None if finish is None else kernel.gradients(g, x, others, rule.epsilon, finish.act)


def _finish_of_kernels(program: Program, rule: Rule, x: jax.Array) -> Finish | None:
    """Return what the kernels do with normalized values, None where they are not called."""
    finish = rule.finish
    if not program.kernels or not isinstance(finish, Finish):
        return None
    if not x.dtype == rule.wide == finish.dtype:
        return None
    return finish if kernel.fits(x, finish.act, program.kernels) else None


register_forms("cpu", _normalized, _normalized_on_cpu)
register_forms("cpu", _transposed, _transposed_on_cpu)


def _sparse(x: jax.Array) -> jax.Array:
    """Return every 8th row and column of images; vectors as they are."""
    between = (slice(None, None, 8),) * (x.ndim - 2)
    return x[:, *between]


def _mean(x: jax.Array, axis_name: str | None) -> jax.Array:
    mean = x.mean(tuple(range(x.ndim - 1)), keepdims=True)
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)
