"""Convolution, normalization, activation: the unit every block is made of."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.activating_norm import ActivatingNorm
from flaxblocks.layers.arguments import ConvArguments, ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Conv, Padding
from flaxblocks.layers.mixed_conv import Mixed, MixedConv
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


class ConvNormAct(Scoped):
    """``act(norm(conv(x)))``.

    >>> unit = fb.ConvNormAct(32, 64, kernel_size=3, stride=2, rngs=nnx.Rngs(0))
    >>> unit(jnp.ones((1, 9, 9, 32))).shape
    (1, 5, 5, 64)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernel in pixels, or `Mixed` for several sizes.
        stride: step of the window in pixels.
        dilation: distance between the kernel's taps in pixels.
        groups: blocks into which the channels are split.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
        use_bias: whether the convolution has a bias.
        conv: makes it, with `Conv`'s arguments; such as `StandardizedConv`.
        norm: makes the normalization: ``norm(features, dtype=, param_dtype=, rngs=)``, such as
            ``partial(BatchNorm, epsilon=1e-3)``; None for none.
        act: activation; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: `torchvision.ops.Conv2dNormActivation`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] | Mixed = 3,
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        padding: Padding = None,
        use_bias: bool = True,
        conv: Callable[..., Conv] = Conv,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        options = ConvArguments(
            stride=stride,
            dilation=dilation,
            groups=groups,
            padding=padding,
            use_bias=use_bias,
            **make,
        )
        self.conv = (
            MixedConv(in_features, out_features, kernel_size, **options)
            if isinstance(kernel_size, Mixed)
            else checks.function("conv", conv)(in_features, out_features, kernel_size, **options)
        )
        self.norm = build("norm", norm, out_features, **make)
        self.act = checks.function("act", act, optional=True)
        if act is None and isinstance(self.norm, ActivatingNorm):
            self.norm.drop_activation()

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Convolve, normalize, activate.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        x = self.conv(x)
        if isinstance(self.norm, BatchNorm | ActivatingNorm):
            return self.norm(x, act=self.act)
        x = apply(self.norm, x)
        return apply(self.act, x)


Conv1X1BnReLU = partial(ConvNormAct, kernel_size=1)
"""`ConvNormAct` with a 1x1 kernel."""

Conv3X3BnReLU = partial(ConvNormAct, kernel_size=3)
"""`ConvNormAct` with a 3x3 kernel."""

unbiased_unit = partial(ConvNormAct, use_bias=False)
"""`ConvNormAct` as most published networks have it."""
