"""The inverted residual: narrow, wide, narrow."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import check_keeps_size
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


class InvertedResidual(nnx.Module):
    """Narrow, wide, narrow: a 1x1 convolution expands, a dense 3x3 works, a 1x1 projects.

    ``final_act(project(spatial(expand(x))) + shortcut(x))``; the shortcut is the identity, or a
    1x1 projection where the shape changes.

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
        norm: makes each normalisation, see `ConvNormAct`.
        act: activation after the first and second convolution.
        final_act: activation at the end; None for none.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Sandler et al. 2018, figure 3, with a dense spatial convolution.
    """

    projects_shortcut = True

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
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        wide = checks.scaled_features(in_features, "expansion", expansion)
        stride = checks.pair("stride", stride)
        unit = partial(
            ConvNormAct,
            use_bias=use_bias,
            norm=norm,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.expand = unit(in_features, wide, 1, act=act)
        self.spatial = unit(
            wide, wide, kernel_size, stride=stride, dilation=dilation, groups=groups, act=act
        )
        self.project = unit(wide, out_features, 1, act=None)
        same_shape = in_features == out_features and stride == (1, 1)
        self.shortcut = (
            unit(in_features, out_features, 1, stride=stride, act=None)
            if self.projects_shortcut and not same_shape
            else None
        )
        self.residual = self.projects_shortcut or same_shape
        if self.residual:
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
        if self.residual:
            y = apply(self.drop_path, y)
            y = y + apply(self.shortcut, x).astype(y.dtype)
        return apply(self.final_act, y)


class MobileNetLikeBlock(InvertedResidual):
    """`InvertedResidual` with a residual only where the shape stays; same arguments.

    Where channels or stride change it the branch stands alone: nothing is projected.
    """

    projects_shortcut = False
