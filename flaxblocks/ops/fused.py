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
    Primitive,
    ShapedArray,
    ad,
    apply_primitive,
    batching,
    jaxpr_as_fun,
    mlir,
)
from flaxblocks.ops import switch
from flaxblocks.ops.program import Program, program_of

fused_p = Primitive("flaxblocks_fused")

Operation = Callable[..., jax.Array]
"""A function of modules and arrays, such as ``MBConv.__call__``."""

Form = Callable[..., jax.Array | None]
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
    mlir.register_lowering(fused_p, partial(_lower, platform), platform=platform)


def has_forms(operation: Operation) -> bool:
    """Return whether there is a form of the operation on any platform."""
    return any(operation in operations for operations in _forms.values())


def fused(operation: Operation, *operands: Any) -> jax.Array:
    """Return ``operation(*operands)``, as one equation of the program.

    Args:
        operation: a function without side effects.
        operands: modules in eval mode, and arrays.
    """
    leaves, tree = jax.tree.flatten(operands)
    # Traced through jit's cache: equal modules share a trace, and eager calls a program.
    jaxpr = _apply.trace(*leaves, operation=operation, tree=tree).jaxpr
    parameters = {"operation": operation, "tree": tree, "jaxpr": jaxpr}
    return fused_p.bind(*leaves, **parameters, implementation=switch.implementation.value)


@partial(jax.jit, static_argnames=("operation", "tree"))
def _apply(*leaves: jax.Array, operation: Operation, tree: Any) -> jax.Array:
    return operation(*jax.tree.unflatten(tree, leaves))


def in_form(platform: str, program: Program, equation: JaxprEqn) -> Callable[..., jax.Array]:
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
) -> jax.Array:
    forms = () if implementation == "lax" else _forms[platform].get(operation, ())
    with switch.implementation(implementation):
        for form in forms:
            result = form(program, *jax.tree.unflatten(tree, leaves))
            if result is not None:
                return result
    return _composed(*leaves, jaxpr=jaxpr)


def _composed(*leaves: jax.Array, jaxpr: ClosedJaxpr, **_: Any) -> jax.Array:
    (result,) = jaxpr_as_fun(jaxpr)(*leaves)
    return result


@fused_p.def_abstract_eval
def _abstract(*_: Any, jaxpr: ClosedJaxpr, **__: Any) -> ShapedArray:
    (result,) = jaxpr.out_avals
    return result


fused_p.def_impl(partial(apply_primitive, fused_p))


def _jvp(primals: tuple, tangents: tuple, **parameters: Any) -> tuple[Any, Any]:
    moving = [i for i, tangent in enumerate(tangents) if type(tangent) is not ad.Zero]

    def of_moving(*values: jax.Array) -> jax.Array:
        leaves = list(primals)
        for i, value in zip(moving, values, strict=True):
            leaves[i] = value
        return _composed(*leaves, **parameters)

    return jax.jvp(of_moving, [primals[i] for i in moving], [tangents[i] for i in moving])


def _batch(leaves: tuple, axes: tuple, **parameters: Any) -> tuple[jax.Array, int]:
    return jax.vmap(partial(_composed, **parameters), in_axes=axes)(*leaves), 0


def _lower(platform: str, ctx: mlir.LoweringRuleContext, *leaves: Any, **parameters: Any) -> Any:
    program = program_of(ctx.module_context, parameters["implementation"])
    rule = mlir.lower_fun(partial(_in_form, platform, program), multiple_results=False)
    return rule(ctx, *leaves, **parameters)


ad.primitive_jvps[fused_p] = _jvp
batching.primitive_batchers[fused_p] = _batch
mlir.register_lowering(fused_p, mlir.lower_fun(_composed, multiple_results=False))
