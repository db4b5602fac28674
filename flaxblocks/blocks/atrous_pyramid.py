"""Convolutions with several dilations, side by side."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import apply
from flaxblocks.layers.scopes import Scoped


class AtrousPyramid(Scoped):
    """Convolutions with several dilations and the image's mean, joined by a 1x1 convolution.

    >>> pyramid = AtrousPyramid(16, 8, dilations=(2, 4), rngs=nnx.Rngs(0))
    >>> pyramid.eval()
    >>> jax.eval_shape(pyramid, jnp.ones((2, 9, 9, 16))).shape
    (2, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of each branch and of the output.
        dilations: distance in pixels between the taps of each 3x3 kernel; a 1x1 one comes first.
        drop_rate: probability of dropping each value of the output in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Chen et al. 2017, section 3.3, figure 5, "atrous spatial pyramid pooling".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        dilations: tuple[int, ...],
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        unit = partial(ConvNormAct, use_bias=False, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.branches = nnx.List([unit(in_features, out_features, 1)])
        for dilation in dilations:
            self.branches.append(unit(in_features, out_features, dilation=dilation))
        self.pooled = unit(in_features, out_features, 1)
        self.project = unit((len(dilations) + 2) * out_features, out_features, 1)
        rate = checks.fraction("drop_rate", drop_rate)
        self.dropout = nnx.Dropout(rate, rngs=rngs) if rate else None

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Apply the branches and join them.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        parts = [branch(x) for branch in self.branches]
        mean = self.pooled(x.mean((1, 2), keepdims=True))
        parts.append(jnp.broadcast_to(mean, parts[0].shape))
        return apply(self.dropout, self.project(jnp.concatenate(parts, -1)))
