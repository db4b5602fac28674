"""The depthwise separable convolution."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.conv import Conv, Padding
from flaxblocks.layers.scopes import Scoped


class DepthWiseSeparableConv(Scoped):
    """A depthwise convolution, then a pointwise one; bare, without norm or activation.

    >>> block = fb.DepthWiseSeparableConv(32, 64, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 56, 56, 32))).shape
    (1, 54, 54, 64)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the depthwise kernel in pixels.
        stride: step of the depthwise convolution in pixels.
        dilation: distance between the depthwise kernel's taps in pixels.
        padding: zeros on each side in pixels, none by default, as `Conv` takes it.
        use_bias: whether the convolutions have a bias.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Howard et al. 2017, section 3.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        padding: Padding = 0,
        use_bias: bool = True,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        conv = partial(Conv, use_bias=use_bias, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.depthwise = conv(
            in_features,
            in_features,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=in_features,
            padding=padding,
        )
        self.pointwise = conv(in_features, out_features, 1)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the two convolutions.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        return self.pointwise(self.depthwise(x))
