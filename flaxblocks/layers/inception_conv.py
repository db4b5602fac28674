"""A depthwise convolution of few channels, with a square window and with long ones."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv import Conv, check_nhwc
from flaxblocks.layers.scopes import Scoped


class InceptionConv(Scoped):
    """Convolve three small parts of the channels, and leave the others as they are.

    One part with a square window, one with a wide window of a single row, one with a tall window
    of a single column, each channel on its own.

    >>> conv = fb.InceptionConv(32, rngs=nnx.Rngs(0))
    >>> [part.kernel.shape for part in (conv.square, conv.wide, conv.tall)]
    [(3, 3, 1, 4), (1, 11, 1, 4), (11, 1, 1, 4)]
    >>> conv(jnp.ones((1, 9, 9, 32))).shape
    (1, 9, 9, 32)

    Args:
        num_features: channels of the input and of the output.
        kernel_size: height and width of the square window in pixels.
        band: length of the long windows in pixels.
        share: what part of the channels each of the three sees, rounded down.
        dilation: distance between the kernels' taps in pixels.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or three such parts are none or too many.

    Source: Yu et al. 2024 (InceptionNeXt), section 3.2, "Inception depthwise convolution".
    """

    def __init__(
        self,
        num_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        band: int = 11,
        share: float = 1 / 8,
        dilation: int | tuple[int, int] = 1,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.num_features = checks.positive_int("num_features", num_features)
        part = int(num_features * checks.fraction("share", share))
        if not 0 < 3 * part <= num_features:
            raise ValueError(
                f"`share` must give three parts of the {num_features} channels one channel or more "
                f"each, and together no more than there are, got {share!r}"
            )
        down, right = checks.pair("dilation", dilation)
        conv = partial(Conv, groups=part, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.square = conv(part, part, kernel_size, dilation=dilation)
        self.wide = conv(part, part, (1, band), dilation=(1, right))
        self.tall = conv(part, part, (band, 1), dilation=(down, 1))

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Convolve.

        Args:
            x: input of shape ``(n, h, w, num_features)``.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if `x` is not NHWC with `num_features` channels.
        """
        check_nhwc(x, self.num_features)
        convs = self.square, self.wide, self.tall
        ends = [self.num_features - left * convs[0].in_features for left in (3, 2, 1)]
        same, *parts = jnp.split(x, ends, axis=-1)
        filtered = [conv(part) for conv, part in zip(convs, parts, strict=True)]
        return jnp.concatenate([same.astype(filtered[0].dtype), *filtered], -1)
