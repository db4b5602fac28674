"""The bottleneck block of networks without normalization."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv, Padding
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.initializers import constant
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.standardized_conv import ScaledStandardizedConv
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu


class NormFreeBottleNeck(Scoped):
    """``alpha * gain * expand(act(spatial(reduce(z)))) + shortcut(z)`` with ``z = beta * act(x)``.

    Each convolution keeps the variance of what it reads, and `beta` that of the input; without
    `shortcut` the input itself is added.

    >>> block = NormFreeBottleNeck(8, 8, hidden_features=4, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        hidden_features: channels between the 1x1 convolutions.
        stride: step of the first 3x3 convolution in pixels.
        dilation: distance between the taps of the 3x3 convolutions in pixels.
        first_dilation: the same of the first of them, where it differs.
        groups: groups of the 3x3 convolutions.
        depth: number of these, 1 or 2.
        padding: zeros around them, as `Conv` takes it; symmetric where absent.
        alpha: factor of the residual branch.
        beta: one by the standard deviation of the input that the signal's propagation predicts.
        shortcut: makes the other branch of `z`: ``shortcut(in_features, out_features, stride=,
            use_bias=, conv=, norm=, dtype=, param_dtype=, rngs=)``; None adds `x` itself.
        conv: makes each convolution, with `Conv`'s arguments.
        act: activation before each convolution.
        se: makes a gate at the end of the residual branch, see `BottleNeck`.
        spatial_se: makes a gate before the last activation, see `BottleNeck`.
        gate_factor: what the output of a gate is multiplied by.
        has_gain: whether the residual branch has one learned factor, 0 at first.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Brock et al. 2021 (unnormalized ResNets), section 3; Brock et al. 2021 (NFNet),
    figure 4.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        groups: int = 1,
        depth: int = 1,
        padding: Padding = None,
        alpha: float = 0.2,
        beta: float = 1.0,
        shortcut: ModuleFactory | None = None,
        conv: Callable[..., Conv] = ScaledStandardizedConv,
        act: Activation = relu,
        se: ModuleFactory | None = None,
        spatial_se: ModuleFactory | None = None,
        gate_factor: float = 2.0,
        has_gain: bool = False,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, conv=conv, norm=None, **make)
        width = checks.positive_int("hidden_features", hidden_features)
        self.shortcut = shortcut and shortcut(
            in_features, out_features, stride=stride, use_bias=True, conv=conv, norm=None, **make
        )
        self.act = checks.function("act", act)
        self.reduce = unit(in_features, width, 1, act=act)
        if depth not in (1, 2):
            raise ValueError(f"`depth` must be 1 or 2, got {depth!r}")
        windows = [(stride, first_dilation or dilation), (1, dilation)][:depth]
        acts = [act, None if spatial_se else act][-depth:]
        self.spatial = nnx.List(
            unit(width, width, 3, stride=s, dilation=d, groups=groups, padding=padding, act=a)
            for (s, d), a in zip(windows, acts, strict=True)
        )
        self.spatial_se = build("spatial_se", spatial_se, width, **make)
        self.expand = unit(width, out_features, 1, act=None)
        self.se = build("se", se, out_features, **make)
        self.gain = nnx.data(nnx.Param(constant(0, (), param_dtype)) if has_gain else None)
        self.alpha, self.beta, self.gate_factor = alpha, beta, gate_factor
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        z = self.act(x) * self.beta
        y = self.reduce(z)
        for unit in self.spatial:
            y = unit(y)
        if self.spatial_se is not None:
            y = self.act(self.spatial_se(y) * self.gate_factor)
        y = self.expand(y)
        if self.se is not None:
            y = self.se(y) * self.gate_factor
        y = apply(self.drop_path, y)
        if self.gain is not None:
            y = y * self.gain[...].astype(y.dtype)
        return add_branches(y * self.alpha, x if self.shortcut is None else self.shortcut(z))
