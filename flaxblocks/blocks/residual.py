# pyright: reportUnknownMemberType=false
"""The residual connection around any module, and what stands on its other branch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.mixed_conv import MixedConv
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import average_pool
from flaxblocks.ops.activations import Activation

projection = partial(ConvNormAct, kernel_size=1, act=None)
"""The published ResNets' shortcut where the shape changes: a 1x1 convolution and a norm."""


class ResidualAdd(Scoped):
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
        check_same_shape(residual, identity)
        return residual + identity


class PooledProjection(ConvNormAct):
    """A shortcut that averages 2x2 pixels before it projects, where the stride is 2.

    ``norm(conv(average_pool(x)))``; a plain 1x1 projection would skip three pixels of four.

    >>> shortcut = PooledProjection(8, 16, stride=2, rngs=nnx.Rngs(0))
    >>> shortcut(jnp.ones((1, 9, 9, 8))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        stride: 2, or 1 for a plain projection.
        ceil_mode: whether an odd last row or column is kept, see `average_pool`.
        dilated: whether the projection reads means of 2x2 pixels at stride 1 too, as where dilation
            takes the place of the stride; beyond the border are zeros, which count.
        use_bias: whether the convolution has a bias.
        conv: makes it, with `Conv`'s arguments.
        norm: makes the normalization, see `ConvNormAct`.
        act: activation at the end; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2019, section 4.1, ResNet-D.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int | tuple[int, int],
        ceil_mode: bool = True,
        dilated: bool = False,
        use_bias: bool = False,
        conv: Callable[..., Conv] = Conv,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        steps = checks.pair("stride", stride)
        if steps not in ((1, 1), (2, 2)):
            raise ValueError(f"`stride` must be 1 or 2 on a pooled shortcut, got {stride!r}")
        super().__init__(
            in_features,
            out_features,
            1,
            use_bias=use_bias,
            conv=conv,
            norm=norm,
            act=act,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.pools = steps == (2, 2)
        self.ceil_mode = ceil_mode
        self.dilated = dilated

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Average, project, normalize.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``, at stride 2 half as high and wide, rounded
            up in `ceil_mode`.
        """
        return super().__call__(self.average(x))

    def average(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q c"]:
        """Return what is projected: means of 2x2 pixels, or the input itself."""
        if self.pools:
            return average_pool(x, ceil_mode=self.ceil_mode)
        if not self.dilated:
            return x
        x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        return (x[:, :-1, :-1] + x[:, :-1, 1:] + x[:, 1:, :-1] + x[:, 1:, 1:]) / 4


def other_branch(
    shortcut: ModuleFactory | None,
    in_features: int,
    out_features: int,
    *,
    stride: tuple[int, int],
    **arguments: Any,
) -> tuple[bool, Activation | None]:
    """Return whether a block adds another branch, and the module on it where there is one.

    Raises:
        TypeError: if the factory cannot be called.
    """
    checks.function("shortcut", shortcut, optional=True)
    if in_features == out_features and stride == (1, 1):
        return True, None
    if shortcut is None:
        return False, None
    return True, shortcut(in_features, out_features, stride=stride, **arguments)


def check_same_shape(residual: jax.Array, identity: jax.Array) -> None:
    """Refuse branches of different shapes, which the sum might broadcast.

    Raises:
        ValueError: if the shapes differ.
    """
    if residual.shape != identity.shape:
        raise ValueError(
            f"`block` returned shape {residual.shape} and `shortcut` {identity.shape}: "
            "give a `shortcut` that changes the shape as `block` does"
        )


def add_branches(residual: jax.Array, identity: jax.Array) -> jax.Array:
    """Return the sum of a block's branches, in the residual branch's dtype.

    Raises:
        ValueError: if their shapes differ.
    """
    check_same_shape(residual, identity)
    return residual + identity.astype(residual.dtype)


def check_no_stride(stride: int | tuple[int, int]) -> None:
    """Refuse a stride in a block that always keeps the size.

    Raises:
        ValueError: if it is not 1.
    """
    if checks.pair("stride", stride) != (1, 1):
        raise ValueError(
            f"`stride` must be 1 in a block that adds or mixes its input, got {stride!r}"
        )


def check_keeps_size(conv: Conv | MixedConv) -> None:
    """Refuse a convolution that does not keep the size at stride 1, as every shortcut does.

    The sum would fail or, where the branch is a single pixel, be broadcast.

    Raises:
        ValueError: if its padding is not ``dilation * (kernel_size - 1)`` in total.
    """
    if isinstance(conv, MixedConv):
        for part in conv.convs:
            check_keeps_size(part)
        return
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
