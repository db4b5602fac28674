"""The inverted residual at inference, as one operation."""

from dataclasses import dataclass
from typing import NamedTuple

import jax

from flaxblocks.ops.activations import Activation
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.primitive import convolve
from flaxblocks.ops.native import inverted_residual as kernel


class Weights(NamedTuple):
    """A convolution's kernel, HWIO, and bias."""

    kernel: jax.Array
    bias: jax.Array


@dataclass(frozen=True)
class InvertedResidual:
    """``final_act(project(gated(act(depthwise(expand_act(expand(x)))))) + x)``.

    Args:
        geometry: of the depthwise convolution.
        residual: whether `x` is added.
        expand_act: activation after the expansion; None for none, and so for the others.
        act: activation after the depthwise convolution.
        squeeze_act: activation between the gate's convolutions.
        gate_act: activation of the gate.
        final_act: activation at the end.
    """

    geometry: Geometry
    residual: bool
    expand_act: Activation | None
    act: Activation | None
    squeeze_act: Activation | None
    gate_act: Activation | None
    final_act: Activation | None

    def composed(
        self,
        x: jax.Array,
        expand: Weights | None,
        depthwise: Weights,
        gate: tuple[Weights, Weights] | None,
        project: Weights,
    ) -> jax.Array:
        """Return the result of the operations, one after the other."""
        y = x if expand is None else _unit(x, expand, self.expand_act)
        y = _unit(y, depthwise, self.act, self.geometry)
        if gate is not None:
            squeezed = _unit(y.mean((1, 2), keepdims=True), gate[0], self.squeeze_act)
            y = y * _unit(squeezed, gate[1], self.gate_act)
        y = _unit(y, project, None)
        y = y + x if self.residual else y
        return y if self.final_act is None else self.final_act(y)

    def native(
        self,
        x: jax.Array,
        expand: Weights | None,
        depthwise: Weights,
        gate: tuple[Weights, Weights] | None,
        project: Weights,
    ) -> jax.Array:
        """Return the same from one native kernel, where it `fits`."""
        layers = (expand, depthwise, *(gate or (None, None)), project)
        return kernel.compute(x, layers, self.geometry, self._acts, residual=self.residual)

    def fits(self, x: jax.Array, depthwise: Weights, project: Weights) -> bool:
        """Return whether there is a native kernel for it."""
        return kernel.fits(x, depthwise.kernel, project.kernel, self.geometry, self._acts)

    @property
    def _acts(self) -> tuple[Activation | None, ...]:
        return self.expand_act, self.act, self.squeeze_act, self.gate_act, self.final_act


def _unit(
    x: jax.Array, weights: Weights, act: Activation | None, geometry: Geometry | None = None
) -> jax.Array:
    _, height, width, _ = x.shape
    pointwise = Geometry((height, width), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    y = convolve(x, weights.kernel, geometry or pointwise, None, native=True) + weights.bias
    return y if act is None else act(y)
