"""The residual connection around any module."""

from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers import checks
from flaxblocks.layers.activations import Activation
from flaxblocks.layers.optional import apply


class ResidualAdd(nnx.Module):
    """``block(x) + shortcut(x)``, the shortcut being the identity where absent.

    >>> block = fb.ResidualAdd(fb.Conv3X3BnReLU(8, 8, rngs=nnx.Rngs(0)))
    >>> block(jnp.ones((1, 5, 5, 8))).shape
    (1, 5, 5, 8)

    Args:
        block: the module on the residual branch.
        shortcut: the module on the other branch.

    Raises:
        TypeError: if either cannot be called.

    Source: He et al. 2016, equation 1.
    """

    def __init__(self, block: Activation, shortcut: Activation | None = None):
        self.block = checks.function("block", block)
        self.shortcut = checks.function("shortcut", shortcut, optional=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Add the two branches.

        Args:
            x: input of shape ``(n, h, w, c)``.

        Returns:
            The sum, of the shape that `block` returns.

        Raises:
            ValueError: if the two branches differ in shape; they are never broadcast.
        """
        residual, identity = self.block(x), apply(self.shortcut, x)
        if residual.shape != identity.shape:
            raise ValueError(
                f"`block` returned shape {residual.shape} and `shortcut` {identity.shape}: "
                "give a `shortcut` that changes the shape as `block` does"
            )
        return residual + identity
