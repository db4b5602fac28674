# pyright: reportUnknownMemberType=false
"""A function that is linear in some arrays, and whose transpose is an operation of its own.

JAX transposes a function an equation at a time; a whole that has a form of its own on some platform
is lost. Here it is one equation of the program, `fused`, which each platform computes in its form.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from flaxblocks._base.jax_internals import (
    ClosedJaxpr,
    Primitive,
    ShapedArray,
    ad,
    apply_primitive,
    batching,
    jaxpr_as_fun,
    lower_fun,
    register_lowering,
)
from flaxblocks.ops.fused import Operation, fused

transposable_p = Primitive("flaxblocks_transposable")

Arrays = tuple[jax.Array, ...]


def transposable(
    function: Callable[..., jax.Array],
    transposed: Operation,
    rule: Any,
    linear: Arrays,
    others: Arrays,
) -> jax.Array:
    """Return ``function(rule, *linear, *others)``.

    Args:
        function: linear in the arrays of `linear`.
        transposed: ``transposed(rule, cotangent, *others)`` returns the cotangents of these, from
            that of the result.
        rule: whatever else both need, hashable: a node without leaves in JAX's trees.
        linear: arrays.
        others: arrays.
    """
    jaxpr = _apply.trace(*linear, *others, function=function, rule=rule).jaxpr
    parameters = {"transposed": transposed, "rule": rule, "count": len(linear)}
    return transposable_p.bind(*linear, *others, jaxpr=jaxpr, **parameters)


@partial(jax.jit, static_argnames=("function", "rule"))
def _apply(*arrays: jax.Array, function: Callable[..., jax.Array], rule: Any) -> jax.Array:
    return function(rule, *arrays)


def _composed(*arrays: jax.Array, jaxpr: ClosedJaxpr, **_: Any) -> jax.Array:
    (result,) = jaxpr_as_fun(jaxpr)(*arrays)
    return result


@transposable_p.def_abstract_eval
def _abstract(*_: Any, jaxpr: ClosedJaxpr, **__: Any) -> ShapedArray:
    (result,) = jaxpr.out_avals
    return result


transposable_p.def_impl(partial(apply_primitive, transposable_p))


def _jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...], **parameters: Any) -> tuple[Any, ...]:
    instantiated = tuple(ad.instantiate_zeros(tangent) for tangent in tangents)
    return jax.jvp(partial(_composed, **parameters), primals, instantiated)


def _transpose(
    cotangent: Any, *arrays: Any, transposed: Operation, rule: Any, count: int, **_: Any
) -> list[Any]:
    if type(cotangent) is ad.Zero:
        return [None] * len(arrays)
    linear, others = arrays[:count], arrays[count:]
    results = fused(transposed, rule, cotangent, *others)
    pairs = zip(linear, results, strict=True)
    sought = [result if ad.is_undefined_primal(array) else None for array, result in pairs]
    return [*sought, *(None for _ in others)]


def _batch(
    arrays: tuple[Any, ...], axes: tuple[int | None, ...], **parameters: Any
) -> tuple[jax.Array, int]:
    return jax.vmap(partial(_composed, **parameters), in_axes=axes)(*arrays), 0


ad.primitive_jvps[transposable_p] = _jvp
ad.primitive_transposes[transposable_p] = _transpose
batching.primitive_batchers[transposable_p] = _batch
register_lowering(transposable_p, lower_fun(_composed, multiple_results=False))
