"""ShuffleNetV2's unit."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.scopes import Scoped


class ShuffleUnit(Scoped):
    """Work on half of the channels, then interleave both halves.

    At stride 1 ``shuffle(left, expand(depthwise(reduce(right))))`` of the input's halves; at stride
    2 both branches read the whole input, and the left one is ``pointwise(filter(x))``.

    >>> unit = ShuffleUnit(8, 16, stride=2, rngs=nnx.Rngs(0))
    >>> unit(jnp.ones((1, 9, 9, 8))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, an even number; the input's own at stride 1.
        stride: step of the depthwise convolutions in pixels.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Ma et al. 2018, figure 3 (c) and (d).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int = 1,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        half = checks.groups_of("out_features", 2, out_features)
        if stride == 1 and in_features != out_features:
            raise ValueError(
                f"`out_features` must equal `in_features` at stride 1, got {in_features} -> "
                f"{out_features}"
            )
        make = {"use_bias": False, "dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        unit = partial(ConvNormAct, **make)
        depthwise = partial(unit, stride=stride, act=None)
        whole = stride != 1
        self.filter = depthwise(in_features, in_features, groups=in_features) if whole else None
        self.pointwise = unit(in_features, half, 1) if whole else None
        self.reduce = unit(in_features if whole else half, half, 1)
        self.depthwise = depthwise(half, half, groups=half)
        self.expand = unit(half, half, 1)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the unit.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        if self.filter is None or self.pointwise is None:
            left, right = jnp.split(x, 2, -1)
        else:
            left, right = self.pointwise(self.filter(x)), x
        y = self.reduce(right)
        y = self.depthwise(y)
        y = self.expand(y)
        both = jnp.stack([left.astype(y.dtype), y], -1)
        return both.reshape(*both.shape[:3], -1)
