# pyright: reportIncompatibleMethodOverride=false
"""Classifiers of a middle stage's feature map, which help to train the stages below."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.blocks.flat_head import FlatHead
from flaxblocks.blocks.head import Head
from flaxblocks.blocks.inception import unit
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.initializers import Normal
from flaxblocks.ops import mean_pool


class GoogLeNetAuxiliary(FlatHead):
    """Average to 4x4 pixels, convolve, and classify by two linear layers.

    >>> head = GoogLeNetAuxiliary(16, 10, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((2, 14, 14, 16))).shape
    (2, 10)

    The arguments are `Head`'s up to `drop_rate`, without those of the layers that it has not.

    Source: Szegedy et al. 2015, section 5.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        drop_rate: float = 0.7,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        super().__init__(
            128,
            num_classes,
            size=4,
            hidden_features=(1024,),
            drops=(False, True),
            drop_rate=drop_rate,
            **make,
        )
        self.conv = unit(in_features, 128, 1, **make)


class InceptionAuxiliary(Head):
    """Average 5x5 pixels, convolve twice, average all and classify.

    >>> head = InceptionAuxiliary(16, 10, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((2, 17, 17, 16))).shape
    (2, 10)

    The arguments are `GoogLeNetAuxiliary`'s. The input has at least 17 pixels on each side.

    Source: Szegedy et al. 2016, figure 8.
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
        super().__init__(768, num_classes, drop_rate=drop_rate, **make)
        self.conv = nnx.data(unit(in_features, 128, 1, **make))
        self.neck = nnx.data(unit(128, 768, 5, padding=0, **make))

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replace the classifier by a new one of small weights, as `Head` does."""
        super().reset_classifier(num_classes, rngs=rngs)
        if self.classifier is not None:
            kernel = self.classifier.kernel
            kernel.set_value(Normal(0.001)(rngs.params(), kernel.shape, kernel.dtype))

    def pool(self, x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        """Return what the classifier reads, of shape ``(n, 768)``."""
        return super().pool(mean_pool(x, kernel_size=5, stride=3))
