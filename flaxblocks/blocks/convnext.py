"""The block of ConvNeXt, and what stands between its stages."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv, Padding
from flaxblocks.layers.layer_norm import LayerNorm
from flaxblocks.layers.layer_scale import optional_layer_scale, scaled_by
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, gelu

layer_norm = partial(LayerNorm, epsilon=1e-6)
"""ConvNeXt's normalization."""


def depthwise_conv(features: int, kernel_size: int | tuple[int, int], **arguments: Any) -> Conv:
    """Make a convolution of each channel on its own."""
    return Conv(features, features, kernel_size, groups=features, **arguments)


class ConvNeXtBlock(Scoped):
    """A large depthwise convolution, then a pointwise perceptron, scaled per channel.

    ``layer_scale * project(response_norm(act(expand(norm(depthwise(x)))))) + x``.

    >>> block = fb.ConvNeXtBlock(8, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, the same number; absent by default.
        expansion: the perceptron's wide width as a multiple of `in_features`.
        kernel_size: height and width of the depthwise kernel in pixels.
        dilation: distance between the depthwise kernel's taps in pixels.
        stride: must be 1: ConvNeXt changes the resolution between its stages.
        depthwise: makes the depthwise convolution: ``depthwise(features, kernel_size, dilation=,
            dtype=, param_dtype=, rngs=)``, such as `InceptionConv` (InceptionNeXt).
        norm: makes the normalization: ``norm(features, dtype=, param_dtype=, rngs=)``; None for
            none.
        act: activation of the perceptron.
        pointwise: makes the perceptron's two layers: ``pointwise(in_features, out_features,
            dtype=, param_dtype=, rngs=)``; `Linear`, or ``partial(Conv, kernel_size=1)`` for the
            same function with kernels of PyTorch's `Conv2d`.
        response_norm: makes the normalization within the perceptron (ConvNeXt V2), such as
            `GlobalResponseNorm`, as `norm`; None for none.
        layer_scale: first value of the scale of the residual branch; None for no scale.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or the shape would change.

    Source: Liu et al. 2022, figure 4; Woo et al. 2023, figure 5 (V2); Yu et al. 2024
    (InceptionNeXt), figure 2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int | None = None,
        *,
        expansion: float = 4,
        kernel_size: int | tuple[int, int] = 7,
        dilation: int | tuple[int, int] = 1,
        stride: int = 1,
        depthwise: ModuleFactory = depthwise_conv,
        norm: ModuleFactory | None = layer_norm,
        act: Activation = gelu,
        pointwise: ModuleFactory = Linear,
        response_norm: ModuleFactory | None = None,
        layer_scale: float | None = 1e-6,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if out_features not in (None, in_features) or stride != 1:
            raise ValueError(
                "`out_features` must equal `in_features` and `stride` be 1, got "
                f"{in_features} -> {out_features} channels and stride {stride}"
            )
        wide = checks.scaled_features(in_features, "expansion", expansion)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        filters = checks.function("depthwise", depthwise)
        self.depthwise: Any = filters(in_features, kernel_size, dilation=dilation, **make)
        self.norm = build("norm", norm, in_features, **make)
        self.expand = checks.function("pointwise", pointwise)(in_features, wide, **make)
        self.response_norm = build("response_norm", response_norm, wide, **make)
        self.project = pointwise(wide, in_features, **make)
        self.layer_scale = optional_layer_scale(layer_scale, in_features, param_dtype)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)
        self.act = checks.function("act", act)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of the input's shape.
        """
        y = self.depthwise(x)
        y = apply(self.norm, y)
        y = self.act(self.expand(y))
        y = apply(self.response_norm, y)
        y = self.project(y)
        y = scaled_by(self.layer_scale, y)
        y = apply(self.drop_path, y)
        return y + x.astype(y.dtype)


class NormConv(Scoped):
    """``conv(act(norm(x)))``; by default a 2x2 kernel with stride 2: ConvNeXt's downsampling.

    >>> downsample = fb.NormConv(8, 16, stride=2, rngs=nnx.Rngs(0))
    >>> downsample(jnp.ones((1, 9, 9, 8))).shape
    (1, 4, 4, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernel in pixels; `stride` where absent.
        stride: step of the kernel in pixels.
        dilation: distance between the kernel's taps in pixels.
        padding: zeros on each side in pixels, none by default, as `Conv` takes it.
        use_bias: whether the convolution has a bias.
        norm: makes the normalization: ``norm(features, dtype=, param_dtype=, rngs=)``; None for
            none.
        act: activation between the two; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Liu et al. 2022, section 2.6, "Separate downsampling layers".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | None = None,
        stride: int = 2,
        dilation: int = 1,
        padding: Padding = 0,
        use_bias: bool = True,
        norm: ModuleFactory | None = layer_norm,
        act: Activation | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.norm = build("norm", norm, in_features, **make)
        self.act = checks.function("act", act, optional=True)
        self.conv = Conv(
            in_features,
            out_features,
            stride if kernel_size is None else kernel_size,
            stride=stride,
            dilation=dilation,
            padding=padding,
            use_bias=use_bias,
            **make,
        )

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Normalize, activate, convolve.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``, by default with ``p = h // stride`` and
            ``q = w // stride``.
        """
        x = apply(self.norm, x)
        x = apply(self.act, x)
        return self.conv(x)
