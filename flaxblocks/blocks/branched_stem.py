# pyright: reportUnknownMemberType=false
"""A stem whose middle is a pool beside two small convolutions."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import max_pool


class BranchedStem(Scoped):
    """``last(mix([pool(y), second(first(y))]))`` with ``y = shrink(x)``.

    The first and the second convolution and the pool see 2x2 pixels, whose size they keep by zeros
    below and to the right.

    >>> stem = BranchedStem(3, 16, hidden_features=8, rngs=nnx.Rngs(0))
    >>> stem(jnp.ones((1, 33, 33, 3))).shape, stem.stride
    ((1, 9, 9, 16), 4)

    Args:
        in_features: channels of the image.
        out_features: channels of the output.
        hidden_features: channels of each branch.
        unit: makes each convolution, with `ConvNormAct`'s arguments.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Attributes:
        stride: pixels of the image per pixel of the output.

    Source: PaddleClas 2.5 (PP-HGNetV2), "StemBlock".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int,
        unit: ModuleFactory = ConvNormAct,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        conv = partial(unit, use_bias=False, **make)
        width = hidden_features
        self.shrink = conv(in_features, width, 3, stride=2)
        self.first = conv(width, width // 2, 2, padding="SAME")
        self.second = conv(width // 2, width, 2, padding="SAME")
        self.mix = conv(2 * width, width, 3, stride=2)
        self.last = conv(width, out_features, 1)
        self.out_features, self.stride = out_features, 4

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Shrink the image.

        Args:
            x: image of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        x = self.shrink(x)
        y = self.second(self.first(x))
        below_and_right = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        x = max_pool(below_and_right, kernel_size=2, stride=1, padding=0)
        x = self.mix(jnp.concatenate([x, y], -1))
        return self.last(x)
