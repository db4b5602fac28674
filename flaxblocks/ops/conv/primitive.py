# pyright: reportUnknownMemberType=false
"""The convolution as one JAX primitive, which is closed under differentiation.

A convolution is a form that is linear in each of three arrays: ``sum over everything of
input * kernel * output``. Leaving one array out gives the three operations that training needs:
without ``output`` the convolution itself, without ``input`` its gradient with respect to the
input, without ``kernel`` the one with respect to the kernel. The derivative of any of them is
again one of them. So one primitive with a `role` has every derivative of every order, and each
role can be lowered in its own way on each platform, which neither `jax.custom_vjp` (no forward
mode) nor `jax.custom_jvp` (no say in the transposes) could do.
"""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax

from flaxblocks._base.jax_internals import (
    LoweringRuleContext,
    Primitive,
    ShapedArray,
    ad,
    apply_primitive,
    batching,
    lower_fun,
    register_lowering,
    varying_axes,
)
from flaxblocks.ops.conv import cpu_choice, gpu_choice
from flaxblocks.ops.conv import xla as xla_form
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.program import may_call_kernels, program_of

ROLES = ("input", "kernel", "output")

Shape = tuple[int, int, int, int]

convolution_p = Primitive("flaxblocks_convolution")


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    geometry: Geometry,
    precision: lax.PrecisionLike,
    implementation: str,
) -> jax.Array:
    """Return the convolution of NHWC with HWIO.

    The `implementation` that was chosen, see `switch.convolution`, holds for all its derivatives.
    """
    # In a shard_map both must vary over the same axes, as the rules of JAX's operations see to.
    varying = [varying_axes(a) for a in (x, kernel)]
    x = _vary(x, varying[1] - varying[0])
    kernel = _vary(kernel, varying[0] - varying[1])
    arrays = {"input": x, "kernel": kernel}
    parameters = {"precision": precision, "implementation": implementation}
    return _contract("output", arrays, geometry=geometry, **parameters)


def _contract(role: str, arrays: dict[str, jax.Array], **parameters: Any) -> jax.Array:
    first, second = (arrays[name] for name in _operands(role))
    return convolution_p.bind(first, second, role=role, **parameters)


def _vary(x: jax.Array, axes: frozenset[str]) -> jax.Array:
    return cast(jax.Array, lax.pcast(x, tuple(axes), to="varying")) if axes else x


def _operands(role: str) -> list[str]:
    return [name for name in ROLES if name != role]


def _shape(first: ShapedArray, second: ShapedArray, role: str, geometry: Geometry) -> Shape:
    """Return the shape of what is left out, from the two arrays that are given."""
    if role == "output":
        return (first.shape[0], *geometry.output, second.shape[3])
    if role == "input":
        return (second.shape[0], *geometry.image, first.shape[2] * geometry.groups)
    return (*geometry.window, first.shape[3] // geometry.groups, second.shape[3])


@convolution_p.def_abstract_eval
def _abstract(
    first: ShapedArray, second: ShapedArray, *, role: str, geometry: Geometry, **_: Any
) -> ShapedArray:
    return first.update(shape=_shape(first, second, role, geometry), weak_type=False)


convolution_p.def_impl(partial(apply_primitive, convolution_p))


def _transpose(
    missing: int,
    cotangent: jax.Array,
    first: jax.Array,
    second: jax.Array,
    *,
    role: str,
    **parameters: Any,
) -> jax.Array:
    """The cotangent takes the result's place in the sum, and the missing operand is the result."""
    names = _operands(role)
    known = 1 - missing
    arrays = {role: cotangent, names[known]: (first, second)[known]}
    return _contract(names[missing], arrays, **parameters)


ad.defbilinear(convolution_p, partial(_transpose, 0), partial(_transpose, 1))


def _batch(
    operands: tuple[jax.Array, jax.Array],
    axes: tuple[int | None, int | None],
    *,
    role: str,
    geometry: Geometry,
    **parameters: Any,
) -> tuple[jax.Array, int]:
    """Fold the mapped axis into the images where one kernel serves all, else into the groups."""
    names = _operands(role)
    mapped = dict(zip(names, axes, strict=True))
    size = next(x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None)
    share_kernel = role != "kernel" and mapped["kernel"] is None
    if not share_kernel:
        geometry = geometry.with_groups(geometry.groups * size)
    arrays: dict[str, jax.Array] = {}
    for name, x in zip(names, operands, strict=True):
        if name == "kernel" and share_kernel:
            arrays[name] = x
            continue
        axis = mapped[name]
        if axis is None:
            x = jnp.broadcast_to(x, (size, *x.shape))
        else:
            x = jnp.moveaxis(x, axis, 0)
        into = 0 if share_kernel else 3
        x = jnp.moveaxis(x, 0, into)
        arrays[name] = x.reshape(*x.shape[:into], -1, *x.shape[into + 2 :])
    result = _contract(role, arrays, geometry=geometry, **parameters)
    into = 0 if share_kernel else 3
    shape = result.shape
    split = (*shape[:into], size, shape[into] // size, *shape[into + 1 :])
    return result.reshape(split), into


batching.primitive_batchers[convolution_p] = _batch


def _library(
    first: jax.Array,
    second: jax.Array,
    *,
    role: str,
    geometry: Geometry,
    precision: lax.PrecisionLike,
    **_: Any,
) -> jax.Array:
    return xla_form.BY_ROLE[role](first, second, geometry, precision)


def _lower_on_cpu(
    ctx: LoweringRuleContext, first: Any, second: Any, *, implementation: str, **others: Any
) -> Any:
    kernels = program_of(ctx.module_context, implementation).kernels
    rule = lower_fun(partial(cpu_choice.lower, kernels=kernels), multiple_results=False)
    return rule(ctx, first, second, **others)


def _lower_on_gpu(
    ctx: LoweringRuleContext, first: Any, second: Any, *, implementation: str, **others: Any
) -> Any:
    kernels = may_call_kernels(ctx.module_context)
    rule = lower_fun(partial(gpu_choice.lower, kernels=kernels), multiple_results=False)
    return rule(ctx, first, second, **others)


register_lowering(convolution_p, lower_fun(_library, multiple_results=False))
register_lowering(convolution_p, _lower_on_cpu, platform="cpu")
register_lowering(convolution_p, _lower_on_gpu, platform="cuda")
