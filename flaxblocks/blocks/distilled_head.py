"""The last layers of a network that was taught by another: two classifiers, each with a norm."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.blocks.head import Head
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.optional import apply


class DistilledHead(Head):
    """Average each channel over the image; the mean of two classifiers, each after a normalization.

    One learned from the classes, the other from a teacher's answers. `for_inference` makes one
    linear layer of the four.

    >>> head = DistilledHead(8, 10, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((2, 3, 3, 8))).shape
    (2, 10)

    Args:
        in_features: channels of the input.
        num_classes: length of the output; 0 for the pooled features.
        drop_rate: probability of dropping each of these in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Source: Touvron et al. 2021, section 3; Wang et al. 2023 (RepViT).
    """

    classifiers = ("classifier", "taught")

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
        """Replace the dropout, the classifiers and their normalizations by new ones.

        Args:
            num_classes: length of the output; 0 for none of them.
            rngs: random streams; ``params`` and ``dropout`` are drawn from.

        Raises:
            TypeError: if `num_classes` is not an integer.
            ValueError: if it is negative.
        """
        super().reset_classifier(num_classes, rngs=rngs)
        make = ModuleArguments(dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)
        width = self.pooled_features
        norms = [BatchNorm(width, **make) if num_classes else None for _ in range(2)]
        self.classifier_norm, self.taught_norm = map(nnx.data, norms)
        self.taught = nnx.data(Linear(width, num_classes, **make) if num_classes else None)

    def __call__(
        self, x: Float[Array, "n h w c"], *, pre_logits: bool = False
    ) -> Float[Array, "n d"]:
        """Classify.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            pre_logits: whether to stop before the dropout and the classifiers.

        Returns:
            Logits of shape ``(n, num_classes)``, or features ``(n, pooled_features)`` where
            `num_classes` is 0 or with `pre_logits`.
        """
        x = self.pool(x)
        if pre_logits or self.classifier is None:
            return x
        x = apply(self.dropout, x)
        y = self.classifier(apply(self.classifier_norm, x))
        if self.taught is None:
            return y
        return (y + self.taught(apply(self.taught_norm, x))) / 2
