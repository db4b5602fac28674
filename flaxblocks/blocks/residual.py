"""The residual connection around any module."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers import checks
from flaxblocks.layers.activations import Activation
from flaxblocks.layers.conv import Conv
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


def check_keeps_size(conv: Conv) -> None:
    """Refuse a convolution that does not keep the size at stride 1, as every shortcut does.

    The sum would fail or, where the branch is a single pixel, be broadcast.

    Raises:
        ValueError: if its padding is not ``dilation * (kernel_size - 1)`` in total.
    """
    window: Any = conv  # NNX's annotations allow forms that ours never has
    if window.padding == "SAME":
        return
    sides = ((0, 0), (0, 0)) if window.padding == "VALID" else window.padding
    given = tuple(low + high for low, high in sides)
    steps = zip(window.kernel_size, window.kernel_dilation, strict=True)
    needed = tuple(dilation * (kernel - 1) for kernel, dilation in steps)
    if given != needed:
        raise ValueError(
            f"`padding` must add {needed} pixels to height and width in a block with a residual, "
            f"got {given}: take an odd `kernel_size`, an even `dilation` or padding='SAME'"
        )
