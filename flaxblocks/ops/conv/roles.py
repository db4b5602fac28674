# pyright: reportUnknownMemberType=false
"""The gradients of a form of the convolution, as JAX derives them from it."""

from collections.abc import Callable
from typing import cast

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

    def input_gradient(
        kernel: jax.Array, g: jax.Array, geometry: Geometry, precision: jax.lax.PrecisionLike
    ) -> jax.Array:
        features = kernel.shape[2] * geometry.groups
        missing = placed_like(g, (g.shape[0], *geometry.image, features))

        def forward(x: jax.Array) -> jax.Array:
            return convolve(x, kernel, geometry, precision)

        return cast(jax.Array, jax.linear_transpose(forward, missing)(g)[0])

    def kernel_gradient(
        x: jax.Array, g: jax.Array, geometry: Geometry, precision: jax.lax.PrecisionLike
    ) -> jax.Array:
        missing = placed_like(g, (*geometry.window, x.shape[3] // geometry.groups, g.shape[3]))

        def forward(w: jax.Array) -> jax.Array:
            return convolve(x, w, geometry, precision)

        return cast(jax.Array, jax.linear_transpose(forward, missing)(g)[0])

    return {"output": convolve, "input": input_gradient, "kernel": kernel_gradient}
