"""The spatial part of Res2Net's bottleneck: several convolutions, each upon the one before."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import mean_pool
from flaxblocks.ops.activations import Activation, relu


class MultiScale(Scoped):
    """Convolve parts of the channels, each with the previous part's result added to it.

    The last part stays as it is. `BottleNeck` takes it as its `spatial`.

    >>> unit = MultiScale(16, 16, scale=4, rngs=nnx.Rngs(0))
    >>> unit(jnp.ones((1, 9, 9, 16))).shape
    (1, 9, 9, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, the same number.
        kernel_size: height and width of the kernels in pixels.
        scale: parts of the channels.
        first: whether nothing is added, and the last part is averaged over 3x3 pixels: in a block
            that changes the shape.
        stride: step of the convolutions in pixels.
        dilation: distance between their taps in pixels.
        groups: groups of each convolution.
        use_bias: whether they have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Gao et al. 2019, section 3.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        scale: int,
        first: bool = False,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        steps = checks.pair("stride", stride)
        if in_features != out_features or (not first and steps != (1, 1)):
            raise ValueError(
                "`out_features` must equal `in_features`, and `stride` be 1 unless `first`, got "
                f"{in_features} -> {out_features} channels and stride {stride}"
            )
        self.scale, self.first, self.step = checks.positive_int("scale", scale), first, steps[0]
        width = in_features // checks.groups_of("scale", in_features // scale, in_features)
        unit = partial(
            ConvNormAct,
            kernel_size=kernel_size,
            stride=steps,
            dilation=dilation,
            groups=groups,
            use_bias=use_bias,
            norm=norm,
            act=act,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.units = nnx.List(unit(width, width) for _ in range(scale - 1))

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q c"]:
        """Apply the convolutions.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, in_features)``.
        """
        *parts, last = jnp.split(x, self.scale, -1)
        results: list[jax.Array] = []
        for unit, part in zip(self.units, parts, strict=True):
            alone = self.first or not results
            results.append(unit(part if alone else results[-1] + part))
        if self.first:
            last = mean_pool(last, kernel_size=3, stride=self.step, padding=1)
        return jnp.concatenate([*results, last.astype(results[-1].dtype)], -1)
