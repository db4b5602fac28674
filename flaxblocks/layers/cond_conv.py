# pyright: reportUnknownMemberType=false
"""A convolution whose kernel each image mixes for itself."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv import Conv, Padding, check_nhwc, convolve
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.explicit_sharding import of_images


class CondConv(Scoped):
    """Convolve each image with its own weighted sum of several kernels, the experts.

    An image's kernel is ``sum(routing[e] * kernel[e])``; the sum is taken before the convolution,
    so that an image costs one convolution whatever the number of experts. All images together
    are one batched product, or one convolution with a group of channels for each image.

    >>> conv = fb.CondConv(8, 16, 3, experts=4, rngs=nnx.Rngs(0))
    >>> conv(jnp.ones((2, 9, 9, 8)), jnp.ones((2, 4))).shape
    (2, 9, 9, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernels in pixels.
        experts: how many kernels are mixed.
        stride: step of the window in pixels.
        dilation: distance between the kernels' taps in pixels.
        groups: blocks into which the channels are split; `in_features` makes it depthwise.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from, for each expert as in `Conv`.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if a size is out of range or `groups` does not divide both channel counts.

    Source: Yang et al. 2019 (CondConv), section 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        experts: int = 4,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        padding: Padding = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        conv = partial(
            Conv,
            stride=stride,
            dilation=dilation,
            groups=groups,
            padding=padding,
            use_bias=False,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        count = checks.positive_int("experts", experts)
        each = [conv(in_features, out_features, kernel_size) for _ in range(count)]
        self.kernel = nnx.Param(jnp.stack([conv.kernel[...] for conv in each]))
        first: Any = each[0]  # NNX's annotations allow forms that ours never has
        self.strides, self.padding = first.strides, first.padding
        self.kernel_dilation, self.groups = first.kernel_dilation, groups
        self.in_features, self.out_features, self.dtype = in_features, out_features, dtype

    def __call__(
        self, x: Float[Array, "n h w c"], routing: Float[Array, "n e"]
    ) -> Float[Array, "n p q d"]:
        """Convolve.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            routing: weight of each expert for each image, of shape ``(n, experts)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.in_features)
        x, kernels = self.mix(x, routing)
        if self.is_pointwise:
            return jnp.einsum("nhwc,ncd->nhwd", x, kernels.squeeze((1, 2)))
        return of_images(self._side_by_side, x, kernels)

    def _side_by_side(self, x: jax.Array, kernels: jax.Array) -> jax.Array:
        """Return images convolved with a kernel each, as groups of one convolution."""
        images, height, width, channels = x.shape
        beside = x.transpose(1, 2, 0, 3).reshape(1, height, width, images * channels)
        kernels = kernels.transpose(1, 2, 3, 0, 4)
        y = self.convolve(beside, kernels.reshape(*kernels.shape[:3], -1), images * self.groups)
        _, height, width, _ = y.shape
        return y.reshape(height, width, images, -1).transpose(2, 0, 1, 3)

    @property
    def is_pointwise(self) -> bool:
        """Whether an image's convolution is a matrix product on each pixel's channels."""
        window = self.kernel.shape[1:3]
        return window == self.strides == (1, 1) and self.groups == 1 and not _pads(self.padding)

    def mix(self, x: jax.Array, routing: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the images, and a kernel ``(height, width, in, out)`` for each, in one dtype."""
        kernel = self.kernel[...]
        dtype = self.dtype or jnp.result_type(x, kernel)
        mixed = jnp.einsum("ne,ehwio->nhwio", routing.astype(dtype), kernel.astype(dtype))
        return x.astype(dtype), mixed

    def convolve(self, x: jax.Array, kernel: jax.Array, groups: Any) -> jax.Array:
        """Return images convolved with one kernel, by this layer's window.

        The groups are an integer, or a symbolic dimension where the number of images is one.
        """
        return convolve(x, kernel, self, groups)


def _pads(padding: str | tuple[tuple[int, int], ...]) -> bool:
    return not isinstance(padding, str) and any(map(any, padding))
