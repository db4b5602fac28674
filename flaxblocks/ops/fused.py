# pyright: reportUnknownMemberType=false
"""A part of a model as one operation, which each platform computes in a form of its own.

`fused` makes a function of modules and arrays one equation of the program. What it means is the
traced function: derivatives, batching, and platforms without a form of their own use that. The
forms of a platform are chosen when the program is lowered, by shape, dtype and kind of program, so
a program traced on one platform and lowered for another contains nothing of the first's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from flaxblocks._base.jax_internals import (
    ClosedJaxpr,
    JaxprEqn,
    LoweringRuleContext,
    Primitive,
    ShapedArray,
    ad,
    apply_primitive,
    batching,
    jaxpr_as_fun,
    lower_fun,
    register_lowering,
)
from flaxblocks.ops import switch
from flaxblocks.ops.program import Program, program_of

fused_p = Primitive("flaxblocks_fused")
fused_p.multiple_results = True

Operation = Callable[..., Any]
"""A function of modules and arrays, such as ``MBConv.__call__``, to an array or several."""

Form = Callable[..., Any]
"""``form(program, *operands)``: the operation's result, or None where the form does not apply."""

_forms: dict[str, dict[Operation, tuple[Form, ...]]] = {}


def register_forms(platform: str, operation: Operation, *forms: Form) -> None:
    """Let a platform compute an operation in the first of these forms that applies.

    Args:
        platform: JAX's name of it, such as ``"cpu"``.
        operation: what `fused` is called with.
        forms: the best first.
    """
    _forms.setdefault(platform, {})[operation] = forms
    register_lowering(fused_p, partial(_lower, platform), platform=platform)


def has_forms(operation: Operation) -> bool:
    """Return whether there is a form of the operation on any platform."""
    return any(operation in operations for operations in _forms.values())


def fused(operation: Operation, *operands: Any) -> Any:
    """Return ``operation(*operands)``, as one equation of the program.

    Args:
        operation: a function without side effects.
        operands: modules in eval mode, and arrays.
    """
    leaves, tree = jax.tree.flatten(operands)
    # Traced through jit's cache: equal modules share a trace, and eager calls a program.
    traced = _apply.trace(*leaves, operation=operation, tree=tree)
    parameters = {"operation": operation, "tree": tree, "jaxpr": traced.jaxpr}
    results = fused_p.bind(*leaves, **parameters, implementation=switch.implementation.value)
    return jax.tree.unflatten(jax.tree.structure(traced.out_info), results)


@partial(jax.jit, static_argnames=("operation", "tree"))
def _apply(*leaves: jax.Array, operation: Operation, tree: Any) -> Any:
    return operation(*jax.tree.unflatten(tree, leaves))


def in_form(platform: str, program: Program, equation: JaxprEqn) -> Callable[..., list[jax.Array]]:
    """Return what a platform computes from the leaves in place of a fused equation."""
    return partial(_in_form, platform, program, **equation.params)


def _in_form(
    platform: str,
    program: Program,
    *leaves: jax.Array,
    operation: Operation,
    tree: Any,
    jaxpr: ClosedJaxpr,
    implementation: str,
) -> list[jax.Array]:
    forms = () if implementation == "lax" else _forms[platform].get(operation, ())
    with switch.implementation(implementation):
        for form in forms:
            result = form(program, *jax.tree.unflatten(tree, leaves))
            if result is not None:
                return jax.tree.leaves(result)
    return _composed(*leaves, jaxpr=jaxpr)


def _composed(*leaves: jax.Array, jaxpr: ClosedJaxpr, **_: Any) -> list[jax.Array]:
    return jaxpr_as_fun(jaxpr)(*leaves)


@fused_p.def_abstract_eval
def _abstract(*_: Any, jaxpr: ClosedJaxpr, **__: Any) -> list[ShapedArray]:
    return jaxpr.out_avals


fused_p.def_impl(partial(apply_primitive, fused_p))


def _jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...], **parameters: Any) -> tuple[Any, Any]:
    moving = [i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero]

    def of_moving(*values: jax.Array) -> list[jax.Array]:
        leaves = list(primals)
        for i, value in zip(moving, values, strict=True):
            leaves[i] = value
        return _composed(*leaves, **parameters)

    return jax.jvp(of_moving, [primals[i] for i in moving], [tangents[i] for i in moving])


def _batch(
    leaves: tuple[Any, ...], axes: tuple[int | None, ...], **parameters: Any
) -> tuple[list[jax.Array], list[int]]:
    results = jax.vmap(partial(_composed, **parameters), in_axes=axes)(*leaves)
    return results, [0] * len(results)


def _lower(platform: str, ctx: LoweringRuleContext, *leaves: Any, **parameters: Any) -> Any:
    program = program_of(ctx.module_context, parameters["implementation"])
    rule = lower_fun(partial(_in_form, platform, program), multiple_results=True)
    return rule(ctx, *leaves, **parameters)


ad.primitive_jvps[fused_p] = _jvp
batching.primitive_batchers[fused_p] = _batch
register_lowering(fused_p, lower_fun(_composed, multiple_results=True))
