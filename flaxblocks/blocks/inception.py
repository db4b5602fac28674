"""Chains of convolutions and pools side by side: the blocks of the Inception networks."""

from dataclasses import dataclass
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation

unit = partial(ConvNormAct, use_bias=False, norm=partial(BatchNorm, epsilon=1e-3))
"""Convolution, normalization and ReLU as the Inception networks have them."""


@dataclass(frozen=True)
class Unit:
    """A convolution, with norm and ReLU, of a block.

    Args:
        name: what the block has it as.
        features: channels of the output.
        kernel_size: height and width of the kernel in pixels.
        stride: step of the kernel in pixels.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
    """

    name: str
    features: int
    kernel_size: int | tuple[int, int] = 1
    stride: int = 1
    padding: Padding = None


Step = Unit | tuple[Unit, ...] | Activation
"""A unit, units that read the same and whose outputs are joined, or a pool."""

Branch = tuple[Step, ...]


class Branches(Scoped):
    """Branches that read the same input, and whose outputs are joined along the channels.

    >>> branches = (Unit("one", 8),), (Unit("two", 4), Unit("three", 8, 3))
    >>> block = Branches(3, 16, branches=branches, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 3))).shape
    (1, 9, 9, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, all branches' together.
        branches: the steps of each branch.
        stride: of the block as a whole, which its steps make.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or the branches give other channels.

    Source: Szegedy et al. 2015, figure 2 (b); Szegedy et al. 2016, figures 5 to 7 and 10.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        branches: tuple[Branch, ...],
        stride: int = 1,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = partial(unit, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.branches, total = branches, 0
        for branch in branches:
            width = in_features
            for step in branch:
                units = _units(step)
                for u in units:
                    window = make(
                        width, u.features, u.kernel_size, stride=u.stride, padding=u.padding
                    )
                    setattr(self, u.name, window)
                width = sum(u.features for u in units) if units else width
            total += width
        if total != out_features:
            raise ValueError(f"`out_features` must be the branches' {total}, got {out_features}")

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the branches and join them.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        return jnp.concatenate([self._branch(branch, x) for branch in self.branches], -1)

    def _branch(self, branch: Branch, x: jax.Array) -> jax.Array:
        for step in branch:
            if isinstance(step, Unit | tuple):
                x = jnp.concatenate(
                    [getattr(self, u.name)(x) for u in _units(cast(Step, step))], -1
                )
            else:
                x = step(x)
        return x


def _units(step: Step) -> tuple[Unit, ...]:
    if isinstance(step, Unit):
        return (step,)
    return cast("tuple[Unit, ...]", step) if isinstance(step, tuple) else ()


def units_of(block: Branches) -> dict[str, ConvNormAct]:
    """Return the block's units by name, in order."""
    return {
        u.name: getattr(block, u.name)
        for branch in block.branches
        for step in branch
        for u in _units(step)
    }
