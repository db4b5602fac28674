"""One-shot aggregation: the outputs of layers in a row are mixed all at once."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches, check_no_stride
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv_norm_act import ConvNormAct, unbiased_unit
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth


class LightUnit(Scoped):
    """``depthwise(pointwise(x))``: a 1x1 convolution that is not activated, then one per channel.

    >>> unit = LightUnit(4, 8, 5, rngs=nnx.Rngs(0))
    >>> unit(jnp.ones((1, 7, 7, 4))).shape
    (1, 7, 7, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the depthwise kernels in pixels.
        unit: makes the depthwise convolution, with `ConvNormAct`'s arguments.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Source: PaddleClas 2.5 (PP-HGNetV2).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        unit: ModuleFactory = ConvNormAct,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.pointwise = ConvNormAct(in_features, out_features, 1, use_bias=False, act=None, **make)
        width = out_features
        self.depthwise = unit(width, width, kernel_size, groups=width, use_bias=False, **make)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Convolve.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        return self.depthwise(self.pointwise(x))


class OneShotAggregation(Scoped):
    """Layers in a row; one or two 1x1 convolutions mix the input and all their outputs.

    ``gate(mix(squeeze([x, first(x), second(first(x)), ...])))``, plus `x` where the channels match.

    >>> block = OneShotAggregation(8, 16, hidden_features=4, depth=3, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 7, 7, 8))).shape, block.mix.conv.in_features
    ((1, 7, 7, 16), 20)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        hidden_features: channels after each layer.
        depth: number of layers.
        layer: makes each: ``layer(in_features, hidden_features, dtype=, param_dtype=, rngs=)``.
        unit: makes the 1x1 convolutions, with `ConvNormAct`'s arguments.
        squeeze_features: channels after the first of two 1x1 convolutions; None for only one.
        gate: makes what follows them, as `SqueezeExcite`; None for nothing.
        stride: 1; what stands before the block shrinks the image.
        drop_path: probability of dropping a sample's branch in training where `x` is added.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Lee et al. 2019 (VoVNet), section 4; Cui et al. 2021 (PP-HGNet).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int,
        depth: int,
        layer: ModuleFactory = unbiased_unit,
        unit: ModuleFactory = ConvNormAct,
        squeeze_features: int | None = None,
        gate: ModuleFactory | None = None,
        stride: int | tuple[int, int] = 1,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        hidden = checks.positive_int("hidden_features", hidden_features)
        depth = checks.positive_int("depth", depth)
        check_no_stride(stride)
        pointwise = partial(unit, kernel_size=1, use_bias=False, **make)
        widths = (in_features, *(hidden,) * depth)
        self.layers = nnx.List(layer(width, hidden, **make) for width in widths[:-1])
        total = sum(widths)
        narrow = squeeze_features
        self.squeeze = None if narrow is None else pointwise(total, narrow)
        self.mix = pointwise(narrow or total, out_features)
        self.gate = build("gate", gate, out_features, **make)
        self.adds = in_features == out_features
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Apply the layers and mix what they return.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        y = jnp.concatenate(outputs, -1)
        y = apply(self.squeeze, y)
        y = self.mix(y)
        y = apply(self.gate, y)
        return add_branches(apply(self.drop_path, y), x) if self.adds else y
