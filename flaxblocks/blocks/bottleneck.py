"""The bottleneck block of ResNet, and its linear variant."""

from functools import partial, partialmethod

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches, check_keeps_size, other_branch
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import Conv1X1BnReLU, ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


class BottleNeck(Scoped):
    """Wide, narrow, wide: a 1x1 convolution reduces, a 3x3 works, a 1x1 expands.

    ``final_act(expand(spatial(reduce(x))) + shortcut(x))``; the shortcut is the identity, or
    `shortcut` where the shape changes: by default the tutorial's, with a ReLU of its own.
    Published ResNets have none there: they pass ``shortcut=fb.blocks.projection``. The stride is
    the 3x3's (ResNet "v1.5").

    >>> block = fb.BottleNeck(32, 64, 4, stride=2, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 32))).shape
    (1, 5, 5, 64)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        reduction: the narrow width is ``out_features // reduction``.
        hidden_features: the narrow width itself, in place of `reduction`.
        reduce_features: channels after the first convolution, where they are not the narrow width.
        kernel_size: height and width of the spatial kernel in pixels.
        stride: step of the spatial convolution in pixels.
        early_stride: whether the first convolution has the stride in its place (the original).
        dilation: distance between the spatial kernel's taps in pixels.
        groups: groups of the spatial convolution (ResNeXt, RegNet).
        spatial: makes it, with `ConvNormAct`'s arguments; such as `MultiScale` (Res2Net).
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after the first and second convolution.
        final_act: activation after the addition; None for none.
        shortcut: makes the other branch where the shape changes: ``shortcut(in_features,
            out_features, stride=, use_bias=, norm=, dtype=, param_dtype=, rngs=)``, such as
            `projection` (ResNet) or `PooledProjection` (ResNet-D); None leaves such a block
            without a residual (RegNetZ).
        pool: follows the spatial convolution, and takes its stride in its place: at a stride of 2
            such as `fb.ops.blur_pool` (anti-aliased ResNets); None for none.
        se: makes a gate at the end of the residual branch (SE-ResNet): ``se(out_features,
            dtype=, param_dtype=, rngs=)``, such as `SqueezeExcite`.
        spatial_se: makes a gate after the spatial convolution (RegNetY), on its narrow width.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2016, figure 5; Xie et al. 2017, figure 3 (groups).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reduction: float = 4,
        *,
        hidden_features: int | None = None,
        reduce_features: int | None = None,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        early_stride: bool = False,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        spatial: ModuleFactory = ConvNormAct,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        final_act: Activation | None = relu,
        shortcut: ModuleFactory | None = Conv1X1BnReLU,
        pool: Activation | None = None,
        se: ModuleFactory | None = None,
        spatial_se: ModuleFactory | None = None,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        narrow = (
            checks.reduced_features(out_features, reduction)
            if hidden_features is None
            else checks.positive_int("hidden_features", hidden_features)
        )
        stride = checks.pair("stride", stride)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        common = {"use_bias": use_bias, "norm": norm, **make}
        unit = partial(ConvNormAct, **common)
        self.pool = checks.function("pool", pool, optional=True)
        if early_stride and pool is not None:
            raise ValueError("`early_stride` must be False with a `pool`, which has the stride")
        step = 1 if pool is not None or early_stride else stride
        first_step = stride if early_stride else 1
        reduced = (
            narrow
            if reduce_features is None
            else checks.positive_int("reduce_features", reduce_features)
        )
        self.reduce = unit(in_features, reduced, 1, stride=first_step, act=act)
        window = {"stride": step, "dilation": dilation, "groups": groups}
        make_spatial = checks.function("spatial", spatial)
        self.spatial = make_spatial(reduced, narrow, kernel_size, **window, act=act, **common)
        self.spatial_se = build("spatial_se", spatial_se, narrow, **make)
        self.expand = unit(narrow, out_features, 1, act=None)
        self.se = build("se", se, out_features, **make)
        self.adds, self.shortcut = other_branch(
            shortcut, in_features, out_features, stride=stride, use_bias=use_bias, norm=norm, **make
        )
        if isinstance(self.spatial, ConvNormAct):
            check_keeps_size(self.spatial.conv)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)
        self.final_act = checks.function("final_act", final_act, optional=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = self.reduce(x)
        y = self.spatial(y)
        y = apply(self.pool, y)
        y = apply(self.spatial_se, y)
        y = self.expand(y)
        y = apply(self.se, y)
        if self.adds:
            y = apply(self.drop_path, y)
            y = add_branches(y, apply(self.shortcut, x))
        return apply(self.final_act, y)


class LinearBottleNeck(BottleNeck):
    """`BottleNeck` without the last activation; same arguments.

    Source: Sandler et al. 2018, section 3.2.
    """

    __init__ = partialmethod(BottleNeck.__init__, final_act=None)  # pyright: ignore[reportAssignmentType]
