# pyright: reportUnknownMemberType=false
"""The efficient channel attention gate."""

from math import log2, sqrt

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv import check_nhwc
from flaxblocks.layers.initializers import Uniform
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import sigmoid


class EfficientChannelAttention(Scoped):
    """Scale each channel by a gate computed from its own mean and its neighbors'.

    ``x * sigmoid(conv(mean(x)))``, with one short kernel that slides over the channels.

    >>> eca = EfficientChannelAttention(64, rngs=nnx.Rngs(0))
    >>> eca(jnp.ones((1, 5, 5, 64))).shape, eca.kernel.shape
    ((1, 5, 5, 64), (3,))

    Args:
        in_features: channels of the input and the output.
        kernel_size: length of the kernel, odd; from `in_features` where absent.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if it is out of range.

    Source: Wang et al. 2020, section 3.2; the kernel's length is equation 12's.
    """

    def __init__(
        self,
        in_features: int,
        *,
        kernel_size: int | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        self.in_features = checks.positive_int("in_features", in_features)
        length = _length(in_features) if kernel_size is None else kernel_size
        if checks.positive_int("kernel_size", length) % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, got {length}")
        self.kernel = nnx.Param(Uniform(1 / sqrt(length))(rngs.params(), (length,), param_dtype))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Gate.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.in_features)
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        x, kernel = x.astype(dtype), self.kernel[...].astype(dtype)
        side = kernel.size // 2
        means = jnp.pad(x.mean((1, 2)), ((0, 0), (side, side)))
        windows = [
            jax.lax.slice_in_dim(means, tap, tap + self.in_features, axis=1)
            for tap in range(kernel.size)
        ]
        gate = sigmoid((jnp.stack(windows, -1) * kernel[None, None]).sum(-1))
        return x * gate[:, None, None]


def _length(features: int) -> int:
    """Return the odd length of the kernel over this number of channels."""
    nearest = int((log2(features) + 1) / 2)
    return max(3, nearest + 1 - nearest % 2)
