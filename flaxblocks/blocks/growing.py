"""ReXNet's inverted residual, whose output has more channels than its input."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu6, silu


class GrowingBottleneck(Scoped):
    """Narrow, wide, narrow: the input is added to as many channels of the output as it has.

    ``project(relu6(se(depthwise(expand(x)))))`` plus ``x`` in the first channels, at stride 1.

    >>> block = GrowingBottleneck(8, 12, hidden_features=16, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 12)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        hidden_features: the wide width; nothing is expanded where it is `in_features`.
        stride: step of the depthwise convolution in pixels.
        dilation: distance between its taps in pixels.
        residual: whether the input is added where it can be.
        se: makes the gate after the depthwise convolution; None for none.
        act: activation after the expansion.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Han et al. 2021 (ReXNet), section 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int,
        stride: int = 1,
        dilation: int = 1,
        residual: bool = True,
        se: ModuleFactory | None = None,
        act: Activation = silu,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit, wide = partial(ConvNormAct, use_bias=False, act=None, **make), hidden_features
        self.in_features = checks.positive_int("in_features", in_features)
        self.residual = residual and stride == 1 and in_features <= out_features
        self.expand = None if wide == in_features else unit(in_features, wide, 1, act=act)
        self.depthwise = unit(wide, wide, 3, stride=stride, dilation=dilation, groups=wide)
        self.se = build("se", se, wide, **make)
        self.act = relu6
        self.project = unit(wide, out_features, 1)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        y = apply(self.expand, x)
        y = self.depthwise(y)
        y = self.act(apply(self.se, y))
        y = self.project(y)
        if not self.residual:
            return y
        y = apply(self.drop_path, y)
        first = y[..., : self.in_features] + x.astype(y.dtype)
        return jnp.concatenate([first, y[..., self.in_features :]], -1)
