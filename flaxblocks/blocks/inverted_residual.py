"""The inverted residual: narrow, wide, narrow."""

from functools import partial, partialmethod

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches, check_keeps_size, other_branch
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import Conv1X1BnReLU, ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


class InvertedResidual(Scoped):
    """Narrow, wide, narrow: a 1x1 convolution expands, a dense 3x3 works, a 1x1 projects.

    ``final_act(project(spatial(expand(x))) + shortcut(x))``; the shortcut is the identity, or
    `shortcut` where the shape changes, see `BottleNeck`.

    >>> block = fb.InvertedResidual(8, 16, 4, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        expansion: the wide width as a multiple of `in_features`.
        kernel_size: height and width of the spatial kernel in pixels.
        stride: step of the spatial convolution in pixels.
        dilation: distance between the spatial kernel's taps in pixels.
        groups: groups of the spatial convolution.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after the first and second convolution.
        final_act: activation at the end; None for none.
        shortcut: makes the other branch where the shape changes, see `BottleNeck`; None leaves
            such a block without a residual.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Sandler et al. 2018, figure 3, with a dense spatial convolution.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        final_act: Activation | None = relu,
        shortcut: ModuleFactory | None = Conv1X1BnReLU,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        wide = checks.scaled_features(in_features, "expansion", expansion)
        stride = checks.pair("stride", stride)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm, **make)
        self.expand = unit(in_features, wide, 1, act=act)
        self.spatial = unit(
            wide, wide, kernel_size, stride=stride, dilation=dilation, groups=groups, act=act
        )
        self.project = unit(wide, out_features, 1, act=None)
        self.adds, self.shortcut = other_branch(
            shortcut, in_features, out_features, stride=stride, use_bias=use_bias, norm=norm, **make
        )
        if self.adds:
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
        y = self.expand(x)
        y = self.spatial(y)
        y = self.project(y)
        if self.adds:
            y = add_branches(apply(self.drop_path, y), apply(self.shortcut, x))
        return apply(self.final_act, y)


class MobileNetLikeBlock(InvertedResidual):
    """`InvertedResidual` with a residual only where the shape stays; same arguments."""

    __init__ = partialmethod(InvertedResidual.__init__, shortcut=None)  # pyright: ignore[reportAssignmentType]
