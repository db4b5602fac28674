# pyright: reportIncompatibleMethodOverride=false
"""The last layers of the networks before global pooling: linear ones over all pixels."""

from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.head import Head
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.optional import apply
from flaxblocks.ops import adaptive_average_pool
from flaxblocks.ops.activations import relu


class FlatHead(Head):
    """Linear layers over every pixel of the feature map, pooled to a fixed size, and classify.

    >>> head = FlatHead(8, 10, size=2, hidden_features=(16, 16), rngs=nnx.Rngs(0))
    >>> head(jnp.ones((3, 5, 5, 8))).shape
    (3, 10)

    The arguments are `Head`'s, and these in place of its layers'.

    Args:
        size: height and width in pixels to which the input is averaged.
        hidden_features: widths of the layers before the classifier, each followed by a ReLU.
        drops: whether there is a dropout before each of these layers and before the classifier.
        drop_rate: probability of dropping each value there in training.

    Source: Krizhevsky et al. 2012, figure 2; Simonyan and Zisserman 2015, table 1.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        size: int,
        hidden_features: tuple[int, ...] = (4096, 4096),
        drops: tuple[bool, ...] = (False, True, True),
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.size = checks.positive_int("size", size)
        self.conv = nnx.data(None)
        widths = pairwise((in_features * size**2, *hidden_features))
        self.hidden = nnx.List(Linear(*pair, **make) for pair in widths)
        self.act = relu
        rate = checks.fraction("drop_rate", drop_rate)
        self.inner_dropout = nnx.Dropout(rate, rngs=rngs) if rate and any(drops[:-1]) else None
        self.drops = drops
        self.pooled_features = hidden_features[-1]
        self.drop_rate, self.dtype, self.param_dtype = rate * drops[-1], dtype, param_dtype
        self.reset_classifier(num_classes, rngs=rngs)

    def pool(self, x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        """Return what the classifier reads, of shape ``(n, pooled_features)``."""
        x = adaptive_average_pool(x, (self.size, self.size))
        x = apply(self.conv, x)
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # in PyTorch's order
        for layer, drops in zip(self.hidden, self.drops, strict=False):
            x = apply(self.inner_dropout if drops else None, x)
            x = self.act(layer(x))
        return x


class ConvMlpHead(Head):
    """`FlatHead` as two convolutions, which larger images take further places of, then the mean.

    >>> head = ConvMlpHead(8, 10, size=3, hidden_features=16, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((3, 5, 2, 8))).shape
    (3, 10)

    The arguments are `Head`'s, and these in place of its layers'.

    Args:
        size: height and width of the first kernel in pixels; smaller inputs are stretched to it.
        hidden_features: channels after each of the two convolutions.
        drop_rate: probability of dropping each value between them, and before the classifier.

    Source: `timm.models.vgg.ConvMlp`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        size: int = 7,
        hidden_features: int = 4096,
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.size = checks.positive_int("size", size)
        self.first = Conv(in_features, hidden_features, size, padding=0, **make)
        self.second = Conv(hidden_features, hidden_features, 1, **make)
        self.act = relu
        rate = checks.fraction("drop_rate", drop_rate)
        self.inner_dropout = nnx.Dropout(rate, rngs=rngs) if rate else None
        self.pooled_features = hidden_features
        self.drop_rate, self.dtype, self.param_dtype = rate, dtype, param_dtype
        self.reset_classifier(num_classes, rngs=rngs)

    def pool(self, x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        """Return what the classifier reads, of shape ``(n, pooled_features)``."""
        _, height, width, _ = x.shape
        x = adaptive_average_pool(x, (max(height, self.size), max(width, self.size)))
        x = self.act(self.first(x))
        x = apply(self.inner_dropout, x)
        return self.act(self.second(x)).mean((1, 2))
