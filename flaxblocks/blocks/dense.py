"""DenseNet's layer and the transition between its stages."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.blocks.convnext import NormConv
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import average_pool
from flaxblocks.ops.activations import relu

_unit = partial(NormConv, stride=1, use_bias=False, norm=BatchNorm, act=relu)


class DenseLayer(Scoped):
    """New channels, from all that came before, beside them: ``[x, spatial(reduce(x))]``.

    Both convolutions, a 1x1 and a 3x3, read what a normalization and a ReLU give.

    >>> layer = DenseLayer(16, 24, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((1, 9, 9, 16))).shape
    (1, 9, 9, 24)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, which begins with the input.
        bottleneck: channels between the convolutions as a multiple of the new ones.
        stride: must be 1.
        dilation: distance between the 3x3 kernel's taps in pixels.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Huang et al. 2017, section 3, DenseNet-B.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bottleneck: int = 4,
        stride: int = 1,
        dilation: int = 1,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if out_features <= in_features or stride != 1:
            raise ValueError(
                "`out_features` must exceed `in_features` and `stride` be 1, got "
                f"{in_features} -> {out_features} channels and stride {stride}"
            )
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        growth = out_features - in_features
        narrow = bottleneck * growth
        self.reduce = _unit(in_features, narrow, kernel_size=1, **make)
        self.spatial = _unit(
            narrow, growth, kernel_size=3, dilation=dilation, padding=dilation, **make
        )

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Apply the layer.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        y = self.reduce(x)
        y = self.spatial(y)
        return jnp.concatenate([x.astype(y.dtype), y], -1)


class Transition(NormConv):
    """Mix the channels by a 1x1 convolution of their normalized values, then average 2x2 pixels.

    >>> transition = Transition(16, 8, rngs=nnx.Rngs(0))
    >>> transition(jnp.ones((1, 9, 9, 16))).shape
    (1, 4, 4, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        stride: must be 2.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Huang et al. 2017, section 3, "Pooling layers".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int = 2,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if stride != 2:
            raise ValueError(f"`stride` must be 2, got {stride!r}")
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        super().__init__(
            in_features,
            out_features,
            kernel_size=1,
            stride=1,
            use_bias=False,
            norm=BatchNorm,
            act=relu,
            **make,
        )

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Normalize, convolve, average.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h // 2, w // 2, out_features)``.
        """
        return average_pool(super().__call__(x))
