"""Several operations as one JAX primitive, which a native kernel computes in one go.

The primitive stands for the operations themselves: every derivative, every batch and every
platform gets those. Only a program for one CPU device calls the kernel.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from flaxblocks.ops.native.targets import may_call

fused_p = Primitive("flaxblocks_fused")


@runtime_checkable
class Operations(Protocol):
    """What can be fused; it must be hashable, for `jax.jit` to know it again."""

    @property
    def composed(self) -> Callable[..., jax.Array]:
        """Computes the result from the operands, one operation after the other."""
        ...

    @property
    def native(self) -> Callable[..., jax.Array]:
        """Computes the same with one native kernel."""
        ...


def fused(operations: Operations, *operands: Any) -> jax.Array:
    """Return what the operations make of the operands, which are arrays or trees of arrays."""
    leaves, tree = jax.tree.flatten(operands)
    if any(jax.typeof(leaf).manual_axis_type.varying for leaf in leaves):  # inside a shard_map
        return operations.composed(*operands)
    return fused_p.bind(*leaves, operations=operations, tree=tree)


def _composed(*leaves: jax.Array, operations: Operations, tree: Any) -> jax.Array:
    return operations.composed(*jax.tree.unflatten(tree, leaves))


def _native(*leaves: jax.Array, operations: Operations, tree: Any) -> jax.Array:
    return operations.native(*jax.tree.unflatten(tree, leaves))


@fused_p.def_abstract_eval
def _abstract(*leaves: Any, **parameters: Any) -> ShapedArray:
    result = jax.eval_shape(partial(_composed, **parameters), *leaves)
    return leaves[0].update(shape=result.shape, dtype=result.dtype, weak_type=False)


@fused_p.def_impl
@partial(jax.jit, static_argnames=("operations", "tree"))
def _evaluate(*leaves: jax.Array, **parameters: Any) -> jax.Array:
    return fused_p.bind(*leaves, **parameters)


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


def _lower_on_cpu(ctx: mlir.LoweringRuleContext, *leaves: Any, **parameters: Any) -> Any:
    form = _native if may_call(ctx.module_context) else _composed
    return mlir.lower_fun(form, multiple_results=False)(ctx, *leaves, **parameters)


ad.primitive_jvps[fused_p] = _jvp
batching.primitive_batchers[fused_p] = _batch
mlir.register_lowering(fused_p, mlir.lower_fun(_composed, multiple_results=False))
mlir.register_lowering(fused_p, _lower_on_cpu, platform="cpu")
