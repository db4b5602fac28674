"""Global response normalization."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv import check_nhwc
from flaxblocks.layers.initializers import constant
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped


class GlobalResponseNorm(Scoped):
    """Amplify the channels that answer more strongly to the image than the others do.

    ``x + scale * x * strength(x) / (mean of the channels' strengths + epsilon) + bias``, the
    strength of a channel being the root of its squares' sum over the image.

    >>> norm = GlobalResponseNorm(8, rngs=nnx.Rngs(0))
    >>> norm(jnp.ones((1, 4, 4, 8))).shape
    (1, 4, 4, 8)

    Args:
        num_features: channels of the input.
        epsilon: number added to the mean of the strengths.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters, which start at 0.
        rngs: random streams.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Woo et al. 2023, section 3.3 and algorithm 1.
    """

    def __init__(
        self,
        num_features: int,
        *,
        epsilon: float = 1e-6,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        self.num_features = checks.positive_int("num_features", num_features)
        self.epsilon = checks.at_least_0("epsilon", epsilon)
        self.scale = nnx.Param(constant(0, (num_features,), param_dtype))
        self.bias = nnx.Param(constant(0, (num_features,), param_dtype))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Normalize.

        Args:
            x: input of shape ``(n, h, w, num_features)``.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if `x` is not NHWC with `num_features` channels.
        """
        check_nhwc(x, self.num_features)
        dtype = self.dtype or jnp.result_type(x, self.scale[...])
        x = x.astype(dtype)
        scale, bias = (a[...].astype(dtype)[None, None, None] for a in (self.scale, self.bias))
        squares = jnp.square(x).sum((1, 2), keepdims=True)
        # A channel of zeros has strength 0 with gradient 0, as in PyTorch; the root's own is NaN.
        silent = squares == 0
        strengths = jnp.where(silent, 0, jnp.sqrt(jnp.where(silent, 1, squares)))
        response = strengths / (strengths.mean(-1, keepdims=True) + self.epsilon)
        return x + (bias + scale * (x * response))
