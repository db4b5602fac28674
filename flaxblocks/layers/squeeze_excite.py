"""The squeeze-and-excitation gate."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Conv, check_nhwc
from flaxblocks.layers.optional import apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu, sigmoid


class SqueezeExcite(Scoped):
    """Scale each channel by a gate computed from all channels' means.

    ``x * gate(expand(act(reduce(mean(x)))))``, with `reduce` and `expand` biased 1x1 convolutions.

    >>> se = fb.SqueezeExcite(16, ratio=0.25, rngs=nnx.Rngs(0))
    >>> se(jnp.ones((1, 5, 5, 16))).shape, se.reduce.out_features
    ((1, 5, 5, 16), 4)

    Args:
        in_features: channels of the input and the output.
        ratio: squeezed channels as a fraction of `in_features`.
        squeeze_features: squeezed channels, in place of `ratio`; for networks that count them
            from something else (EfficientNet: the block's input).
        act: activation after `reduce`.
        gate: function that maps the result of `expand` to the scale.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a count is out of range.

    Source: Hu et al. 2018, section 3; the activation and gate of MobileNetV3 in its section 5.3.
    """

    def __init__(
        self,
        in_features: int,
        *,
        ratio: float = 0.25,
        squeeze_features: int | None = None,
        act: Activation = relu,
        gate: Activation = sigmoid,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        squeezed = (
            checks.scaled_features(in_features, "ratio", ratio)
            if squeeze_features is None
            else checks.positive_int("squeeze_features", squeeze_features)
        )
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.reduce = Conv(in_features, squeezed, 1, **make)
        self.expand = Conv(squeezed, in_features, 1, **make)
        self.act = checks.function("act", act)
        self.gate = checks.function("gate", gate)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Gate.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.expand.out_features)
        y = x.mean((1, 2), keepdims=True)
        y = self.act(self.squeeze(y))
        return x * self.gate(self.expand(y))

    def squeeze(self, y: Float[Array, "n 1 1 c"]) -> Float[Array, "n 1 1 d"]:
        """Return what is activated, from the channels' means."""
        return self.reduce(y)


class SqueezeNormExcite(SqueezeExcite):
    """`SqueezeExcite` with a normalization after `reduce`.

    >>> se = SqueezeNormExcite(16, squeeze_features=4, rngs=nnx.Rngs(0))
    >>> se(jnp.ones((2, 5, 5, 16))).shape
    (2, 5, 5, 16)

    Args:
        in_features: channels of the input and the output.
        squeeze_features: squeezed channels.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a count is out of range.

    Source: Han et al. 2021 (ReXNet), the released code.
    """

    def __init__(
        self,
        in_features: int,
        *,
        squeeze_features: int,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        super().__init__(in_features, squeeze_features=squeeze_features, **make)
        self.norm = BatchNorm(squeeze_features, **make)

    def squeeze(self, y: Float[Array, "n 1 1 c"]) -> Float[Array, "n 1 1 d"]:
        """Return what is activated, from the channels' means."""
        return apply(self.norm, super().squeeze(y))
