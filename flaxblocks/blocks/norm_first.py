"""The bottleneck of RegNetV, whose normalizations stand before the convolutions."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.convnext import NormConv
from flaxblocks.blocks.residual import add_branches, other_branch
from flaxblocks.layers.arguments import ModuleArguments, UnitArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import Conv1X1BnReLU, ConvNormAct
from flaxblocks.layers.norm_act import NormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


class NormFirstBottleNeck(Scoped):
    """`BottleNeck` in which each convolution reads normalized and activated values.

    ``expand(spatial_se(spatial(reduce(y)))) + shortcut(y)`` with ``y = first(x)``, the input
    normalized and activated, which the identity passes on too.

    >>> block = NormFirstBottleNeck(8, 16, 2, stride=2, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        reduction: the narrow width is ``out_features // reduction``.
        kernel_size: height and width of the spatial kernel in pixels.
        stride: step of the spatial convolution in pixels.
        dilation: distance between the spatial kernel's taps in pixels.
        groups: groups of the spatial convolution.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each normalization; None for none.
        shortcut: makes the other branch where the shape changes, see `BottleNeck`; it has no
            normalization.
        spatial_se: makes a gate after the spatial convolution.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2016 (identity mappings), figure 4 (e), as timm's RegNetV has it.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reduction: float = 4,
        *,
        kernel_size: int = 3,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        shortcut: ModuleFactory = Conv1X1BnReLU,
        spatial_se: ModuleFactory | None = None,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        narrow = checks.reduced_features(out_features, reduction)
        stride = checks.pair("stride", stride)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.first = NormAct(in_features, norm=norm, act=act, **make)
        common = UnitArguments(use_bias=use_bias, norm=norm, **make)
        self.reduce = ConvNormAct(in_features, narrow, 1, act=act, **common)
        self.spatial = Conv(
            narrow,
            narrow,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            use_bias=use_bias,
            **make,
        )
        self.spatial_se = build("spatial_se", spatial_se, narrow, **make)
        self.expand = NormConv(narrow, out_features, kernel_size=1, stride=1, act=act, **common)
        _, self.shortcut = other_branch(
            shortcut, in_features, out_features, stride=stride, use_bias=use_bias, norm=None, **make
        )
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        x = self.first(x)
        y = self.reduce(x)
        y = self.spatial(y)
        y = apply(self.spatial_se, y)
        y = self.expand(y)
        y = apply(self.drop_path, y)
        return add_branches(y, apply(self.shortcut, x))
