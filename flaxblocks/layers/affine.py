"""A unit followed by one factor and one shift for all channels."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.evo_norm import over_channels
from flaxblocks.layers.initializers import constant
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


class AffineConvNormAct(Scoped):
    """``scale * act(norm(conv(x))) + bias``, with two learned numbers, 1 and 0 at first.

    >>> unit = AffineConvNormAct(4, 8, 1, rngs=nnx.Rngs(0))
    >>> unit(jnp.ones((1, 5, 5, 4))).shape, unit.scale.shape
    ((1, 5, 5, 8), (1,))

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernel in pixels.
        stride: step of the window in pixels.
        groups: blocks into which the channels are split.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
        use_bias: whether the convolution has a bias.
        norm: makes the normalization, see `ConvNormAct`; None for none.
        act: activation; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: PaddleClas 2.5 (PP-HGNetV2), "LearnableAffineBlock".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        padding: Padding = None,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.unit = ConvNormAct(
            in_features,
            out_features,
            kernel_size,
            stride=stride,
            groups=groups,
            padding=padding,
            use_bias=use_bias,
            norm=norm,
            act=act,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.scale = nnx.Param(constant(1, (1,), param_dtype))
        self.bias = nnx.Param(constant(0, (1,), param_dtype))

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Convolve, normalize, activate, scale and shift.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = self.unit(x)
        return y * over_channels(self.scale, y) + over_channels(self.bias, y)
