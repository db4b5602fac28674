"""SqueezeNet's block and its last layers."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.head import Head
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.initializers import Normal
from flaxblocks.layers.optional import apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import max_pool

pool = partial(max_pool, padding=0, ceil_mode=True)


class Fire(Scoped):
    """Squeeze by a 1x1 convolution, expand by a 1x1 and a 3x3 one, whose outputs are joined.

    >>> block = Fire(16, 32, squeeze_features=4, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 9, 9, 16))).shape
    (1, 9, 9, 32)

    Args:
        in_features: channels of the input.
        out_features: channels of the output, an even number: half from each expansion.
        squeeze_features: channels in between.
        stride: 2 for a max pool of 3x3 pixels before the block, 1 for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Iandola et al. 2016, figure 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        squeeze_features: int,
        stride: int = 1,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        half = checks.groups_of("out_features", 2, out_features)
        unit = partial(ConvNormAct, norm=None, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.pool = pool if stride == 2 else None
        self.squeeze = unit(in_features, squeeze_features, 1)
        self.expand_1 = unit(squeeze_features, half, 1)
        self.expand_3 = unit(squeeze_features, half, 3)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        x = apply(self.pool, x)
        x = self.squeeze(x)
        return jnp.concatenate([self.expand_1(x), self.expand_3(x)], -1)


class ConvHead(Head):
    """`Head` whose classifier is a 1x1 convolution with a ReLU before the mean.

    The arguments are `Head`'s up to `drop_rate`, without those of the layers that it has not.

    >>> head = ConvHead(8, 10, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((2, 3, 3, 8))).shape
    (2, 10)

    Source: Iandola et al. 2016, figure 2.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        super().__init__(in_features, num_classes, drop_rate=drop_rate, **make)

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replace the dropout and the classifier by new ones, as `Head` does."""
        super().reset_classifier(num_classes, rngs=rngs)
        make = ModuleArguments(dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)
        classifier = partial(Conv, kernel_size=1, kernel_init=Normal(0.01), **make)
        self.classifier = nnx.data(
            classifier(self.pooled_features, num_classes) if num_classes else None
        )

    def __call__(
        self, x: Float[Array, "n h w c"], *, pre_logits: bool = False
    ) -> Float[Array, "n d"]:
        """Classify.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            pre_logits: whether to average the input itself.

        Returns:
            Logits of shape ``(n, num_classes)``, or features ``(n, pooled_features)`` where
            `num_classes` is 0 or with `pre_logits`.
        """
        if self.classifier is None or pre_logits:
            return x.mean((1, 2))
        x = apply(self.dropout, x)
        x = apply(self.act, self.classifier(x))
        return x.mean((1, 2))
