"""A convolution, its bias, a residual and an activation, as one operation."""

from dataclasses import dataclass

import jax

from flaxblocks.ops.activations import Activation
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.primitive import convolve
from flaxblocks.ops.fused.primitive import fused
from flaxblocks.ops.native import convolution as native


@dataclass(frozen=True)
class ConvAct:
    """``act(convolve(x, kernel) + bias + residual)``.

    Args:
        geometry: of the convolution.
        act: activation; None for none.
        name: of the native kernel.
    """

    geometry: Geometry
    act: Activation | None
    name: str

    def composed(
        self, x: jax.Array, kernel: jax.Array, bias: jax.Array, residual: jax.Array | None
    ) -> jax.Array:
        """Return the result of the operations, one after the other."""
        y = convolve(x, kernel, self.geometry, None, native=True) + bias
        y = y if residual is None else y + residual
        return y if self.act is None else self.act(y)

    def native(
        self, x: jax.Array, kernel: jax.Array, bias: jax.Array, residual: jax.Array | None
    ) -> jax.Array:
        """Return the same from the native kernel."""
        return native.convolve(self.name, self.geometry, x, kernel, bias, residual, self.act)


def conv_act(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    residual: jax.Array | None,
    geometry: Geometry,
    act: Activation | None,
) -> jax.Array | None:
    """Return ``act(convolve(x, kernel) + bias + residual)``, None where no kernel computes it.

    Args:
        x: input of shape ``(n, h, w, c)``.
        kernel: HWIO.
        bias: of shape ``(d,)``.
        residual: of the result's shape; None for none.
        geometry: of the convolution.
        act: activation; None for none.
    """
    name = native.fused_name(x, kernel, geometry, act)
    shape = (x.shape[0], *geometry.output, kernel.shape[3])
    if name is None or (residual is not None and residual.shape != shape):
        return None
    if residual is not None and residual.dtype != x.dtype:
        return None
    return fused(ConvAct(geometry, act, name), x, kernel, bias, residual)
