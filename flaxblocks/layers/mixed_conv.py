"""A convolution with kernels of several sizes, each for a part of the channels."""

from dataclasses import dataclass
from itertools import accumulate

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv import Conv, Padding, check_nhwc
from flaxblocks.layers.scopes import Scoped


@dataclass(frozen=True)
class Mixed:
    """A `kernel_size` of several: each is the height and width, in pixels, of one part's kernels.

    >>> unit = fb.ConvNormAct(8, 8, fb.Mixed((3, 5)), groups=8, rngs=nnx.Rngs(0))
    >>> [conv.kernel_size for conv in unit.conv.convs]
    [(3, 3), (5, 5)]

    Args:
        sizes: the sizes, one for each part of the channels.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if there is none, or one is below 1.
    """

    sizes: tuple[int, ...]

    def __post_init__(self):
        for size in self.sizes:
            checks.positive_int("sizes", size)
        if not self.sizes:
            raise ValueError("`sizes` must have a kernel size for each part, got none")


class MixedConv(Scoped):
    """Split the channels into parts, convolve each with kernels of its own size, concatenate.

    >>> conv = fb.MixedConv(8, 8, fb.Mixed((3, 5)), groups=8, rngs=nnx.Rngs(0))
    >>> conv(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: the sizes. Each part has as many channels, the first what is left over too.
        stride: step of the windows in pixels.
        dilation: distance between the kernels' taps in pixels.
        groups: `in_features` makes each part depthwise, 1 makes each dense.
        padding: zeros on each side in pixels, as `Conv` takes it; by default each part keeps the
            size at stride 1.
        use_bias: whether a bias is added.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or there are fewer channels than sizes.

    Source: Tan and Le 2019 (MixConv), section 3.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Mixed,
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        padding: Padding = None,
        use_bias: bool = True,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        inputs = _parts("in_features", in_features, kernel_size)
        outputs = _parts("out_features", out_features, kernel_size)
        if groups not in (1, in_features):
            raise ValueError(
                f"`groups` must be 1 or the {in_features} channels of the input where kernels of "
                f"several sizes are mixed, got {groups!r}"
            )
        self.in_features, self.out_features = in_features, out_features
        self.convs = nnx.List(
            Conv(
                before,
                after,
                size,
                stride=stride,
                dilation=dilation,
                groups=1 if groups == 1 else before,
                padding=padding,
                use_bias=use_bias,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )
            for before, after, size in zip(inputs, outputs, kernel_size.sizes, strict=True)
        )

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Convolve.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.in_features)
        ends = list(accumulate(conv.in_features for conv in self.convs))
        parts = zip(self.convs, jnp.split(x, ends[:-1], axis=-1), strict=True)
        return jnp.concatenate([conv(part) for conv, part in parts], -1)


def _parts(name: str, features: int, kernel_size: Mixed) -> list[int]:
    """Return the channels of each part."""
    count = len(kernel_size.sizes)
    each, rest = divmod(checks.positive_int(name, features), count)
    if not each:
        raise ValueError(f"`{name}` must be {count} or more for {count} sizes, got {features}")
    return [each + rest, *(each for _ in range(count - 1))]
