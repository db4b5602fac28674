"""Darknet's residual block, whose last convolution is activated before the input is added."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches, check_keeps_size, check_no_stride
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, leaky_relu


class DarkBlock(Scoped):
    """``second(se(first(x))) + x``, by a 1x1 and a 3x3 convolution or the other way round.

    >>> block = DarkBlock(8, 8, hidden_features=4, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, the same.
        hidden_features: channels between the convolutions.
        kernel_sizes: height and width of both kernels in pixels.
        stride: 1; what stands before the block shrinks the image.
        dilation: distance between the taps of the larger kernel in pixels.
        groups: groups of the convolution with the larger kernel.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each.
        se: makes a gate between them, see `BottleNeck`.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or the channels differ.

    Source: Redmon and Farhadi 2018 (YOLOv3), table 1; timm's "edge" block.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int,
        kernel_sizes: tuple[int, int] = (1, 3),
        stride: int | tuple[int, int] = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = leaky_relu,
        se: ModuleFactory | None = None,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        check_no_stride(stride)
        if checks.positive_int("out_features", out_features) != in_features:
            raise ValueError(
                f"`out_features` must be `in_features`, {in_features}, got {out_features}"
            )
        unit = partial(ConvNormAct, use_bias=False, norm=norm, act=act, **make)
        widths = (in_features, checks.positive_int("hidden_features", hidden_features))
        options = [
            {"dilation": dilation, "groups": groups} if size == max(kernel_sizes) else {}
            for size in kernel_sizes
        ]
        self.first = unit(*widths, kernel_sizes[0], **options[0])
        self.se = build("se", se, hidden_features, **make)
        self.second = unit(*widths[::-1], kernel_sizes[1], **options[1])
        for layer in (self.first, self.second):
            check_keeps_size(layer.conv)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of the same shape.
        """
        y = self.first(x)
        y = apply(self.se, y)
        y = self.second(y)
        return add_branches(apply(self.drop_path, y), x)
