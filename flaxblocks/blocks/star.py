"""The block of StarNet, which multiplies two wide layers with each other."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import add_branches, check_keeps_size, check_no_stride
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu6


class StarBlock(Scoped):
    """Filter, widen twice, multiply one by the other, narrow, filter again.

    ``spread(project(first(y) * second(y))) + x`` with ``y = depthwise(x)``, of which `first` alone
    is activated.

    >>> block = fb.StarBlock(8, 8, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, the same number.
        expansion: the wide width as a multiple of `in_features`.
        kernel_size: height and width of both depthwise kernels in pixels, odd.
        stride: must be 1.
        dilation: distance between the depthwise kernels' taps in pixels.
        norm: makes the normalizations after the first filter and after the projection, see
            `ConvNormAct`.
        act: activation of the one of the two wide layers.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or the shape would change.

    Source: Ma et al. 2024 (StarNet).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        expansion: float = 4,
        kernel_size: int = 7,
        stride: int | tuple[int, int] = 1,
        dilation: int = 1,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation = relu6,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_no_stride(stride)
        if checks.positive_int("out_features", out_features) != in_features:
            raise ValueError(
                f"`out_features` must be `in_features`, {in_features}, got {out_features}"
            )
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        wide = checks.scaled_features(in_features, "expansion", expansion)
        filters = partial(
            ConvNormAct,
            in_features,
            in_features,
            kernel_size,
            dilation=dilation,
            groups=in_features,
            act=None,
            **make,
        )
        widen = partial(ConvNormAct, in_features, wide, 1, norm=None, **make)
        self.depthwise = filters(norm=norm)
        self.first = widen(act=checks.function("act", act))
        self.second = widen(act=None)
        self.project = ConvNormAct(wide, in_features, 1, norm=norm, act=None, **make)
        self.spread = filters(norm=None)
        for unit in (self.depthwise, self.spread):
            check_keeps_size(unit.conv)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of the input's shape.
        """
        y = self.depthwise(x)
        y = self.first(y) * self.second(y)
        y = self.spread(self.project(y))
        return add_branches(apply(self.drop_path, y), x)
