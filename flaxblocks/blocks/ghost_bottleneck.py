"""The bottleneck of two ghost modules, and its shortcut."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.ghost import GhostModule
from flaxblocks.blocks.residual import add_branches, other_branch
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


class SeparableProjection(Scoped):
    """A shortcut of a depthwise and a 1x1 convolution, each with a normalization.

    >>> shortcut = SeparableProjection(8, 12, stride=2, rngs=nnx.Rngs(0))
    >>> shortcut(jnp.ones((1, 5, 5, 8))).shape
    (1, 3, 3, 12)

    The arguments are `ConvNormAct`'s.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm, act=None, **make)
        self.depthwise = unit(
            in_features, in_features, kernel_size, stride=stride, groups=in_features
        )
        self.pointwise = unit(in_features, out_features, 1)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the two convolutions.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        return self.pointwise(self.depthwise(x))


class GhostBottleNeck(Scoped):
    """Narrow, wide, narrow, of ghost modules, with a depthwise convolution where the size changes.

    ``project(se(depthwise(expand(x)))) + shortcut(x)``.

    >>> block = GhostBottleNeck(8, 12, hidden_features=24, stride=2, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 5, 5, 8))).shape
    (1, 3, 3, 12)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        hidden_features: the wide width.
        kernel_size: height and width of the depthwise kernel in pixels, the shortcut's too.
        stride: step of the depthwise convolution in pixels; there is none at 1.
        expand: makes the first module, with `GhostModule`'s arguments.
        project: makes the second, which has no activation.
        depthwise: makes the depthwise convolution, with `ConvNormAct`'s arguments.
        se: makes the gate: ``se(hidden_features, dtype=, param_dtype=, rngs=)``; None for none.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation of the first module.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Han et al. 2020, figure 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        expand: ModuleFactory = GhostModule,
        project: ModuleFactory = GhostModule,
        depthwise: ModuleFactory = ConvNormAct,
        se: ModuleFactory | None = None,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        steps = checks.pair("stride", stride)
        wide = checks.positive_int("hidden_features", hidden_features)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        common = {"use_bias": False, "norm": norm, **make}
        self.expand = expand(in_features, wide, act=act, **common)
        window = {"stride": steps, "groups": wide, "act": None}
        self.depthwise = (
            None if steps == (1, 1) else depthwise(wide, wide, kernel_size, **window, **common)
        )
        self.se = build("se", se, wide, **make)
        self.project = project(wide, out_features, act=None, **common)
        shortcut = partial(SeparableProjection, kernel_size=kernel_size)
        _, self.shortcut = other_branch(shortcut, in_features, out_features, stride=steps, **common)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = self.expand(x)
        y = apply(self.depthwise, y)
        y = apply(self.se, y)
        y = self.project(y)
        return add_branches(y, apply(self.shortcut, x))
