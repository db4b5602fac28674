"""Residual blocks that normalize and activate before each convolution, not after it."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.blocks.residual import add_branches
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.norm_act import NormAct
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu

pre_activated_projection = partial(ConvNormAct, kernel_size=1, norm=None, act=None)
"""The shortcut where the shape changes: a 1x1 convolution of what is normalized already."""


class PreActBasicBlock(Scoped):
    """``second(first(z)) + shortcut(z)`` with ``z = norm(x)``, both of 3x3 convolutions.

    The activated normalization of each stands before it; what is added is not activated.

    >>> block = PreActBasicBlock(8, 8, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        stride: step of the first convolution in pixels.
        dilation: distance between the kernels' taps in pixels.
        first_dilation: the same of the first convolution, where it differs.
        shortcut: makes the other branch of `z`: ``shortcut(in_features, out_features, stride=,
            use_bias=, conv=, dtype=, param_dtype=, rngs=)``, such as `pre_activated_projection`;
            None adds `x` itself.
        conv: makes each convolution, with `Conv`'s arguments.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each normalization.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2016 (Identity Mappings), figure 4e.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        shortcut: ModuleFactory | None = None,
        conv: Callable[..., Conv] = Conv,
        norm: ModuleFactory = BatchNorm,
        act: Activation = relu,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=False, conv=conv, **make)
        parts = {"use_bias": False, "conv": conv, **make}
        self.shortcut = shortcut and shortcut(in_features, out_features, stride=stride, **parts)
        self.norm = NormAct(in_features, norm=norm, act=act, **make)
        first = {"stride": stride, "dilation": first_dilation or dilation}
        self.first = unit(in_features, out_features, 3, **first, norm=norm, act=act)
        self.second = unit(out_features, out_features, 3, dilation=dilation, norm=None, act=None)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        z = self.norm(x)
        y = self.second(self.first(z))
        y = apply(self.drop_path, y)
        return add_branches(y, x if self.shortcut is None else self.shortcut(z))


class PreActBottleNeck(Scoped):
    """``expand(spatial(reduce(z))) + shortcut(z)`` with ``z = norm(x)``.

    A 1x1, a 3x3 and a 1x1 convolution; the rest is as in `PreActBasicBlock`.

    >>> block = PreActBottleNeck(8, 16, shortcut=pre_activated_projection, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output; a quarter of them is the narrow width.
        stride: step of the 3x3 convolution in pixels.
        dilation: distance between its taps in pixels.
        shortcut: see `PreActBasicBlock`.
        conv: makes each convolution, with `Conv`'s arguments.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each normalization.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2016 (Identity Mappings), section 4; Kolesnikov et al. 2020 (BiT).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        shortcut: ModuleFactory | None = None,
        conv: Callable[..., Conv] = Conv,
        norm: ModuleFactory = BatchNorm,
        act: Activation = relu,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=False, conv=conv, norm=norm, act=act, **make)
        narrow = out_features // 4
        self.shortcut = shortcut and shortcut(
            in_features, out_features, stride=stride, use_bias=False, conv=conv, **make
        )
        self.norm = NormAct(in_features, norm=norm, act=act, **make)
        self.reduce = unit(in_features, narrow, 1)
        self.spatial = unit(narrow, narrow, 3, stride=stride, dilation=dilation)
        self.expand = unit(narrow, out_features, 1, norm=None, act=None)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        z = self.norm(x)
        y = self.expand(self.spatial(self.reduce(z)))
        y = apply(self.drop_path, y)
        return add_branches(y, x if self.shortcut is None else self.shortcut(z))
