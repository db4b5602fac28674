"""The inverted bottleneck whose kernels each image mixes for itself."""

from functools import partial
from math import sqrt

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.cond_conv import CondConv
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.initializers import Initialization, Uniform, zeros
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.rngs import NetworkRngs, initialization_of
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.activations import Activation, relu6, sigmoid


class CondUnit(Scoped):
    """``act(norm(conv(x, routing)))``: `ConvNormAct` with a `CondConv`.

    Args:
        conv: the convolution.
        norm: makes the normalization, see `ConvNormAct`.
        act: activation; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams.
    """

    def __init__(
        self,
        conv: CondConv,
        *,
        norm: ModuleFactory | None,
        act: Activation | None,
        dtype: jnp.dtype | type | None,
        param_dtype: jnp.dtype | type,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.conv = conv
        self.norm = build("norm", norm, conv.out_features, **make)
        self.act = checks.function("act", act, optional=True)

    def __call__(
        self, x: Float[Array, "n h w c"], routing: Float[Array, "n e"]
    ) -> Float[Array, "n p q d"]:
        """Convolve, normalize, activate."""
        x = self.conv(x, routing)
        x = apply(self.norm, x)
        return apply(self.act, x)


class CondMBConv(Scoped):
    """`MBConv` in which each image mixes the kernels of all three convolutions from experts.

    ``project(se(depthwise(expand(x)))) + x``, the residual only where channels match and the stride
    is 1. The experts' weights are ``sigmoid(routing(mean(x)))``.

    >>> block = fb.CondMBConv(8, 16, 4, experts=4, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((2, 9, 9, 8))).shape
    (2, 9, 9, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        expansion: the wide width as a multiple of `in_features`.
        hidden_features: the wide width itself, in place of `expansion`.
        experts: kernels that each convolution mixes.
        kernel_size: height and width of the depthwise kernels in pixels.
        stride: step of the depthwise convolution in pixels.
        dilation: distance between the depthwise kernels' taps in pixels.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after the expansion and the depthwise convolution.
        se: makes the gate after the depthwise convolution, see `MBConv`; None for none.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Yang et al. 2019 (CondConv), section 4.1, EfficientNet.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        hidden_features: int | None = None,
        experts: int = 4,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        padding: Padding = None,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu6,
        se: ModuleFactory | None = None,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        hidden = checks.hidden_features(in_features, expansion, hidden_features)
        stride = checks.pair("stride", stride)
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        conv = partial(CondConv, experts=experts, **make)
        unit = partial(CondUnit, norm=norm, **make)
        window = {"stride": stride, "dilation": dilation, "padding": padding}
        self.expand = unit(conv(in_features, hidden, 1), act=act)
        self.depthwise = unit(conv(hidden, hidden, kernel_size, groups=hidden, **window), act=act)
        self.se = build("se", se, hidden, **make)
        self.project = unit(conv(hidden, out_features, 1), act=None)
        self.routing = _routing(in_features, experts, **make)
        self.residual = in_features == out_features and stride == (1, 1)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        routing = sigmoid(self.routing(x.mean((1, 2))))
        y = self.expand(x, routing)
        y = self.depthwise(y, routing)
        y = apply(self.se, y)
        y = self.project(y, routing)
        if self.residual:
            y = apply(self.drop_path, y)
            y = y + x.astype(y.dtype)
        return y


def _routing(
    in_features: int,
    experts: int,
    *,
    dtype: jnp.dtype | type | None,
    param_dtype: jnp.dtype | type,
    rngs: nnx.Rngs,
) -> Linear:
    """Return the layer that weighs the experts; a network's rule counts its inputs too."""
    if initialization_of(rngs).linear is not None:
        rule = Uniform(1 / sqrt(in_features + experts))
        rngs = NetworkRngs(rngs, Initialization(linear=rule, linear_bias=zeros))
    return Linear(in_features, experts, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
