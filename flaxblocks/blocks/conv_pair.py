"""Two convolutions in the place of one."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


class ConvPair(Scoped):
    """``second(first(x))``, of which the first has the stride: a `spatial` for `BottleNeck`.

    >>> pair = ConvPair(8, 8, stride=2, rngs=nnx.Rngs(0))
    >>> pair(jnp.ones((1, 9, 9, 8))).shape
    (1, 5, 5, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of both kernels in pixels.
        stride: step of the first convolution in pixels.
        dilation: distance between the kernels' taps in pixels.
        groups: groups of both.
        use_bias: whether they have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: timm's ResNet-61-Q.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        unit = partial(
            ConvNormAct,
            kernel_size=kernel_size,
            dilation=dilation,
            groups=groups,
            use_bias=use_bias,
            norm=norm,
            act=act,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.first = unit(in_features, out_features, stride=stride)
        self.second = unit(out_features, out_features)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Convolve twice.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        return self.second(self.first(x))
