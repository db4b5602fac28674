"""The bottleneck block that normalises and activates before it convolves."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.blocks.residual import add_branches, other_branch, projection
from flaxblocks.layers import checks
from flaxblocks.layers.activations import Activation, relu
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth


class PreActivationBottleNeck(nnx.Module):
    """`BottleNeck` with each convolution's norm and activation before it, not after it.

    ``expand(act(spatial_norm(spatial(reduce(z))))) + shortcut(z)`` with ``z = act(norm(x))``, and
    `reduce` a convolution with the norm and activation of the next one.

    >>> block = PreActivationBottleNeck(32, 64, 4, stride=2, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 32))).shape
    (1, 5, 5, 64)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        reduction: the narrow width is ``out_features // reduction``.
        stride: step of the 3x3 convolution in pixels.
        groups: groups of the 3x3 convolution.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalisation, see `ConvNormAct`.
        act: activation before each convolution.
        shortcut: makes the other branch where the shape changes, without a norm, see `BottleNeck`.
        spatial_se: makes a gate after the 3x3 convolution, see `BottleNeck`.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2016, "Identity mappings in deep residual networks", figure 4e; the shared
        first activation is timm's (RegNetV).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reduction: float = 4,
        *,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation = relu,
        shortcut: ModuleFactory | None = projection,
        spatial_se: ModuleFactory | None = None,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        narrow = checks.reduced_features(out_features, reduction)
        stride = checks.pair("stride", stride)
        make = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        convs = {"use_bias": use_bias, **make}
        self.norm = build("norm", norm, in_features, **make)
        self.act = checks.function("act", act)
        self.reduce = ConvNormAct(in_features, narrow, 1, norm=norm, act=act, **convs)
        self.spatial = Conv(narrow, narrow, 3, stride=stride, groups=groups, **convs)
        self.spatial_se = build("spatial_se", spatial_se, narrow, **make)
        self.spatial_norm = build("norm", norm, narrow, **make)
        self.expand = Conv(narrow, out_features, 1, **convs)
        self.adds, self.shortcut = other_branch(
            shortcut, in_features, out_features, stride=stride, norm=None, **convs
        )
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``, without an activation.
        """
        z = self.act(apply(self.norm, x))
        y = self.reduce(z)
        y = self.spatial(y)
        y = apply(self.spatial_se, y)
        y = self.act(apply(self.spatial_norm, y))
        y = self.expand(y)
        if self.adds:
            y = add_branches(apply(self.drop_path, y), apply(self.shortcut, z))
        return y
