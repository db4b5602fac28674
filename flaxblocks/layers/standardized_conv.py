"""Convolutions whose kernels are standardized: mean 0 and variance 1 for each output channel."""

from math import prod

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks._base.dtypes import at_least_float32
from flaxblocks.layers.conv import Conv, Padding, check_nhwc, convolve
from flaxblocks.layers.initializers import constant


class StandardizedConv(Conv):
    """A convolution by ``(kernel - mean) / sqrt(var + epsilon)``, both of each output channel.

    `for_inference` computes that kernel once.

    >>> conv = fb.StandardizedConv(3, 8, 3, stride=2, rngs=nnx.Rngs(0))
    >>> conv(jnp.ones((1, 7, 7, 3))).shape
    (1, 4, 4, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernel in pixels.
        stride: step of the window in pixels.
        dilation: distance between the kernel's taps in pixels.
        groups: blocks into which the channels are split.
        padding: zeros on each side in pixels, as `Conv` takes it.
        use_bias: whether a bias is added.
        epsilon: number added to the variance.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Qiao et al. 2019 (Weight Standardization), equation 7.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        padding: Padding = None,
        use_bias: bool = True,
        epsilon: float = 1e-6,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            in_features,
            out_features,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            padding=padding,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.epsilon = checks.at_least_0("epsilon", epsilon)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Convolve.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.in_features)
        bias = None if self.bias is None else self.bias[...]
        kernel = self.standardized().astype(self.kernel.dtype)
        x, kernel, bias = self.promote_dtype((x, kernel, bias), dtype=self.dtype)
        y = convolve(x, kernel, self, self.feature_group_count)
        return y if bias is None else y + bias[None, None, None]

    def standardized(self) -> jax.Array:
        """Return the kernel that it convolves by, in at least float32."""
        kernel = self.kernel[...]
        wide = kernel.astype(at_least_float32(kernel.dtype))
        mean, var = (f(wide, (0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
        return (wide - mean) / jnp.sqrt(var + self.epsilon)


class ScaledStandardizedConv(StandardizedConv):
    """A `StandardizedConv` that keeps the variance of its input, with a gain for each channel.

    The kernel is ``gain * gamma / sqrt(fan_in)`` times the standardized one.

    >>> conv = fb.ScaledStandardizedConv(3, 8, 3, gamma=1.7, rngs=nnx.Rngs(0))
    >>> conv(jnp.ones((1, 7, 7, 3))).shape, conv.gain.shape
    ((1, 7, 7, 8), (8,))

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernel in pixels.
        stride: step of the window in pixels.
        dilation: distance between the kernel's taps in pixels.
        groups: blocks into which the channels are split.
        padding: zeros on each side in pixels, as `Conv` takes it.
        use_bias: whether a bias is added.
        epsilon: number added to the variance.
        gamma: factor that makes up for the variance that the activation before takes away.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Brock et al. 2021 (unnormalized ResNets), section 4.3, equation 4.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        padding: Padding = None,
        use_bias: bool = True,
        epsilon: float = 1e-6,
        gamma: float = 1.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            in_features,
            out_features,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            padding=padding,
            use_bias=use_bias,
            epsilon=epsilon,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.gain = nnx.data(nnx.Param(constant(1, (out_features,), self.param_dtype)))
        fan_in = prod(self.kernel.shape[:3])
        self.factor = gamma * fan_in**-0.5

    def standardized(self) -> jax.Array:
        """Return the kernel that it convolves by, in at least float32."""
        kernel = super().standardized()
        return kernel * (self.gain[...].astype(kernel.dtype) * self.factor)[None, None, None]
