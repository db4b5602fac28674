# pyright: reportUnknownMemberType=false
"""A copy of an array that the compiler does not identify with the original.

What is computed from the copy is computed again, not shared with what is computed from the
original and stored in between. On an accelerator, whose time goes into reading and writing memory,
that is the faster way. On CPU the copy is the array itself: there storing is cheaper, and a barrier
would keep XLA from fusing loops.
"""

from typing import Any

import jax
from jax import lax

from flaxblocks._base.jax_internals import (
    LoweringRuleContext,
    Primitive,
    ad,
    batching,
    lower_fun,
    register_lowering,
)

recompute_p = Primitive("flaxblocks_recompute")


def recompute(x: jax.Array) -> jax.Array:
    """Return a copy of `x`, whose uses are recomputed and not shared with those of `x`."""
    return recompute_p.bind(x)


def _same(x: Any) -> Any:
    return x


def _on_cpu(_: LoweringRuleContext, x: Any) -> list[Any]:
    return [x]


def _in_list(x: Any) -> list[Any]:
    return [x]


recompute_p.def_impl(_same)
recompute_p.def_abstract_eval(_same)
ad.deflinear(recompute_p, _in_list)
batching.defvectorized(recompute_p)
register_lowering(recompute_p, lower_fun(lax.optimization_barrier, False))
register_lowering(recompute_p, _on_cpu, platform="cpu")
