"""The mobile inverted bottlenecks of MobileNetV2 and V3, MNASNet and EfficientNet."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import check_keeps_size
from flaxblocks.layers.arguments import ModuleArguments, UnitArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.conv_norm_act import Conv1X1BnReLU, ConvNormAct
from flaxblocks.layers.mixed_conv import Mixed
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu, relu6


class MBConv(Scoped):
    """Expand by a 1x1 convolution, filter by a depthwise one, gate, project by a linear 1x1.

    ``final_act(project(se(depthwise(expand(x)))) + x)``, the residual only where channels match
    and the stride is 1. Without expansion (``expansion=1``) there is no 1x1 before the depthwise.
    The defaults are the tutorial's block: biased convolutions and a last ReLU. EfficientNet's is
    ``use_bias=False, act=silu, final_act=None, se=..., drop_path=...``.

    >>> block = fb.MBConv(32, 64, 4, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 32))).shape
    (1, 9, 9, 64)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        expansion: the wide width as a multiple of `in_features`.
        hidden_features: the wide width itself, in place of `expansion`.
        always_expand: whether the expansion is there even where it widens nothing.
        expand: makes the expansion, with `ConvNormAct`'s arguments but the kernel's size.
        project: makes the projection likewise.
        kernel_size: height and width of the depthwise kernel in pixels, or `Mixed` for several
            sizes.
        stride: step of the depthwise convolution in pixels.
        dilation: distance between the depthwise kernel's taps in pixels.
        group_size: channels that the depthwise convolution mixes; 1, as its name says, or more.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after the expansion and the depthwise convolution.
        final_act: activation at the end; None for none.
        pool: follows the depthwise convolution and takes its stride in its place: at a stride of 2
            such as `fb.ops.blur_pool`; None for none.
        se: makes the gate after the depthwise convolution: ``se(hidden, dtype=, param_dtype=,
            rngs=)``, such as ``partial(SqueezeExcite, squeeze_features=8)``; None for none.
        residual: whether the input is added where it can be.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Sandler et al. 2018, table 1; Tan et al. 2019 (MnasNet), figure 7;
        Howard et al. 2019, figure 4 (the gate's place).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        hidden_features: int | None = None,
        always_expand: bool = False,
        expand: Callable[..., ConvNormAct] = Conv1X1BnReLU,
        project: Callable[..., ConvNormAct] = Conv1X1BnReLU,
        kernel_size: int | tuple[int, int] | Mixed = 3,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        group_size: int = 1,
        padding: Padding = None,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu6,
        final_act: Activation | None = relu,
        pool: Activation | None = None,
        se: ModuleFactory | None = None,
        residual: bool = True,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        hidden = checks.hidden_features(in_features, expansion, hidden_features)
        stride = checks.pair("stride", stride)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        common = UnitArguments(use_bias=use_bias, norm=norm, **make)
        self.pool = checks.function("pool", pool, optional=True)
        expand, project = checks.function("expand", expand), checks.function("project", project)
        expands = always_expand or hidden != in_features
        self.expand = expand(in_features, hidden, act=act, **common) if expands else None
        self.depthwise = ConvNormAct(
            hidden,
            hidden,
            kernel_size,
            stride=stride if pool is None else 1,
            dilation=dilation,
            groups=checks.groups_of("group_size", group_size, hidden),
            padding=padding,
            act=act,
            **common,
        )
        self.se = build("se", se, hidden, **make)
        self.project = project(hidden, out_features, act=None, **common)
        self.residual = residual and in_features == out_features and stride == (1, 1)
        if self.residual:
            check_keeps_size(self.depthwise.conv)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)
        self.final_act = checks.function("final_act", final_act, optional=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = apply(self.expand, x)
        y = self.depthwise(y)
        y = apply(self.pool, y)
        y = apply(self.se, y)
        y = self.project(y)
        if self.residual:
            y = apply(self.drop_path, y)
            y = y + x.astype(y.dtype)
        return apply(self.final_act, y)


class FusedMBConv(Scoped):
    """`MBConv` with one dense convolution in place of the expansion and the depthwise one.

    ``final_act(project(se(expand(x))) + x)``, the residual only where channels match and the
    stride is 1. Without expansion (``expansion=1``) the dense convolution goes straight to
    `out_features` and nothing projects.

    >>> block = fb.FusedMBConv(32, 64, 4, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 32))).shape
    (1, 9, 9, 64)

    The arguments are `MBConv`'s, said of the dense convolution in place of the depthwise one, but
    for `group_size`: channels that it mixes, in groups; None for all. What makes the expansion and
    the projection cannot be chosen.

    Source: Gupta and Tan 2019 (EfficientNet-EdgeTPU); Tan and Le 2021, figure 2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        hidden_features: int | None = None,
        always_expand: bool = False,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        group_size: int | None = None,
        padding: Padding = None,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu6,
        final_act: Activation | None = relu,
        pool: Activation | None = None,
        se: ModuleFactory | None = None,
        residual: bool = True,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        hidden = checks.hidden_features(in_features, expansion, hidden_features)
        stride = checks.pair("stride", stride)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm, **make)
        expands = always_expand or hidden != in_features
        width = hidden if expands else out_features
        self.pool = checks.function("pool", pool, optional=True)
        self.expand = unit(
            in_features,
            width,
            kernel_size,
            stride=stride if pool is None else 1,
            dilation=dilation,
            groups=1 if group_size is None else checks.groups_of("group_size", group_size, width),
            padding=padding,
            act=act,
        )
        self.se = build("se", se, width, **make)
        self.project = unit(hidden, out_features, 1, act=None) if expands else None
        self.residual = residual and in_features == out_features and stride == (1, 1)
        if self.residual:
            check_keeps_size(self.expand.conv)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)
        self.final_act = checks.function("final_act", final_act, optional=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = self.expand(x)
        y = apply(self.pool, y)
        y = apply(self.se, y)
        y = apply(self.project, y)
        if self.residual:
            y = apply(self.drop_path, y)
            y = y + x.astype(y.dtype)
        return apply(self.final_act, y)
