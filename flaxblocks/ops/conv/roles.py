"""The gradients of a form of the convolution, as JAX derives them from it."""

from collections.abc import Callable

import jax

from flaxblocks._base.jax_internals import placed_like
from flaxblocks.ops.conv.geometry import Geometry

Role = Callable[..., jax.Array]
"""``role(first, second, geometry, precision)``: the third array, from the two others."""


def by_role(convolve: Role) -> dict[str, Role]:
    """Return a form and its two transposes, by the array that each computes.

    Args:
        convolve: ``convolve(x, kernel, geometry, precision)``, linear in `x` and in `kernel`.
    """

    def input_gradient(kernel: jax.Array, g: jax.Array, geometry: Geometry, precision) -> jax.Array:
        features = kernel.shape[2] * geometry.groups
        missing = placed_like(g, (g.shape[0], *geometry.image, features))
        transposed = jax.linear_transpose(
            lambda x: convolve(x, kernel, geometry, precision), missing
        )
        return transposed(g)[0]

    def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, precision) -> jax.Array:
        missing = placed_like(g, (*geometry.window, x.shape[3] // geometry.groups, g.shape[3]))
        transposed = jax.linear_transpose(lambda w: convolve(x, w, geometry, precision), missing)
        return transposed(g)[0]

    return {"output": convolve, "input": input_gradient, "kernel": kernel_gradient}
