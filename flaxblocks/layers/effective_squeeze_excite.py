"""The squeeze-and-excitation gate that squeezes nothing."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv, check_nhwc
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, sigmoid


class EffectiveSqueezeExcite(Scoped):
    """Scale each channel by a gate that one layer computes from all channels' means.

    ``x * gate(conv(mean(x)))``, with a biased 1x1 convolution.

    >>> se = EffectiveSqueezeExcite(16, rngs=nnx.Rngs(0))
    >>> se(jnp.ones((1, 5, 5, 16))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input and the output.
        gate: function that maps the result of the convolution to the scale.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a count is out of range.

    Source: Lee and Park 2020 (CenterMask), section 3.3.
    """

    def __init__(
        self,
        in_features: int,
        *,
        gate: Activation = sigmoid,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.conv = Conv(in_features, in_features, 1, **make)
        self.gate = checks.function("gate", gate)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Gate.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.conv.in_features)
        return x * self.gate(self.conv(x.mean((1, 2), keepdims=True)))
