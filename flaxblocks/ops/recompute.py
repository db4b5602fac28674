"""A copy of an array that the compiler does not identify with the original.

What is computed from the copy is computed again, not shared with what is computed from the
original and stored in between. On an accelerator, whose time goes into reading and writing memory,
that is the faster way. On CPU the copy is the array itself: there storing is cheaper, and a barrier
would keep XLA from fusing loops.
"""

import jax
from jax import lax

from flaxblocks._base.jax_internals import Primitive, ad, batching, mlir

recompute_p = Primitive("flaxblocks_recompute")


def recompute(x: jax.Array) -> jax.Array:
    """Return a copy of `x`, whose uses are recomputed and not shared with those of `x`."""
    return recompute_p.bind(x)


recompute_p.def_impl(lambda x: x)
recompute_p.def_abstract_eval(lambda x: x)
ad.deflinear(recompute_p, lambda cotangent: [cotangent])
batching.defvectorized(recompute_p)
mlir.register_lowering(recompute_p, mlir.lower_fun(lax.optimization_barrier, False))
mlir.register_lowering(recompute_p, lambda _, x: [x], platform="cpu")
