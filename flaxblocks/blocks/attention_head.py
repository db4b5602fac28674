# pyright: reportIncompatibleMethodOverride=false
"""The last layers of CLIP's ResNets."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.blocks.head import Head
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.attention_pool import AttentionPool


class AttentionHead(Head):
    """Pool by attention and classify, or project to the space that CLIP's texts share.

    >>> head = AttentionHead(16, 10, size=(3, 3), head_features=8, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((2, 3, 3, 16))).shape
    (2, 10)

    Args:
        in_features: channels of the input.
        num_classes: length of the output; 0 for the pooled features.
        size: height and width of the maps that the positions are learned for, see `AttentionPool`.
        head_features: length of a query, a key and a value.
        drop_rate: probability of dropping each pooled feature in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Radford et al. 2021 (CLIP), section 2.4.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        size: tuple[int, int],
        head_features: int = 64,
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        super().__init__(in_features, num_classes, drop_rate=drop_rate, **make)
        self.attention = AttentionPool(in_features, size=size, head_features=head_features, **make)

    def pool(self, x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        """Return what the classifier reads, of shape ``(n, in_features)``."""
        return self.attention(x)
