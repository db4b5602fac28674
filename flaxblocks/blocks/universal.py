"""The universal inverted bottleneck of MobileNetV4."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import check_keeps_size
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.layer_scale import optional_layer_scale, scaled_by
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


class UniversalInvertedBottleneck(Scoped):
    """An inverted bottleneck with a depthwise convolution before and after the expansion.

    ``layer_scale * project(depthwise(expand(start(x)))) + x``, where `start`, which has no
    activation, and `depthwise` may be left out, and the residual is there only where channels
    match and the stride is 1.

    >>> block = UniversalInvertedBottleneck(16, 24, 4, start_kernel_size=5, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 16))).shape
    (1, 9, 9, 24)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        expansion: the wide width as a multiple of `in_features`.
        hidden_features: the wide width itself, in place of `expansion`.
        start_kernel_size: height and width in pixels of the depthwise kernel before the
            expansion; None for no convolution there.
        kernel_size: the same of the one after the expansion.
        stride: step in pixels of the last depthwise convolution.
        dilation: distance in pixels between the taps of both depthwise kernels.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after the expansion and after the depthwise convolution that follows it.
        pool: follows the depthwise convolution that has the stride, and takes it in its place, see
            `MBConv`; None for none.
        layer_scale: first value of the scale of the residual branch; None for no scale.
        residual: whether the input is added where it can be.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or no convolution can take the stride.

    Source: Qin et al. 2024, section 4.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        hidden_features: int | None = None,
        start_kernel_size: int | tuple[int, int] | None = None,
        kernel_size: int | tuple[int, int] | None = 3,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        padding: Padding = None,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        pool: Activation | None = None,
        layer_scale: float | None = None,
        residual: bool = True,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        hidden = checks.hidden_features(in_features, expansion, hidden_features)
        stride = checks.pair("stride", stride)
        if start_kernel_size is None and kernel_size is None and stride != (1, 1):
            raise ValueError(
                "`stride` must be 1 in a block without a depthwise convolution to take it, got "
                f"{stride!r}"
            )
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=False, norm=norm, **make)
        depthwise = partial(_depthwise, partial(unit, padding=padding, dilation=dilation))
        self.pool = checks.function("pool", pool, optional=True)
        step = stride if pool is None else 1
        first = step if kernel_size is None else 1
        self.start = depthwise(in_features, start_kernel_size, stride=first, act=None)
        self.expand = unit(in_features, hidden, 1, act=act)
        self.depthwise = depthwise(hidden, kernel_size, stride=step, act=act)
        self.project = unit(hidden, out_features, 1, act=None)
        self.layer_scale = optional_layer_scale(layer_scale, out_features, param_dtype)
        self.residual = residual and in_features == out_features and stride == (1, 1)
        if self.residual:
            for layer in filter(None, (self.start, self.depthwise)):
                check_keeps_size(layer.conv)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = apply(self.start, x)
        if self.depthwise is None:
            y = apply(self.pool, y)
        y = self.expand(y)
        if self.depthwise is not None:
            y = apply(self.pool, self.depthwise(y))
        y = self.project(y)
        y = scaled_by(self.layer_scale, y)
        if self.residual:
            y = apply(self.drop_path, y)
            y = y + x.astype(y.dtype)
        return y


def _depthwise(
    unit: partial[ConvNormAct],
    features: int,
    kernel_size: int | tuple[int, int] | None,
    *,
    stride: int | tuple[int, int],
    act: Activation | None,
) -> ConvNormAct | None:
    if kernel_size is None:
        return None
    return unit(features, features, kernel_size, stride=stride, groups=features, act=act)
