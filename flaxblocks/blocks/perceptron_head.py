"""The last layers of a network that classifies by a perceptron."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.head import Head
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.ops.activations import Activation


class PerceptronHead(Head):
    """Average each channel, normalize, and classify by two layers with a normalization between.

    ``classifier(expand_norm(act(expand(dropout(norm(mean(x)))))))``: unlike `Head`'s hidden layer,
    which pooled features have gone through, `expand` is part of the classifier and is replaced
    with it.

    >>> head = PerceptronHead(8, 10, norm=fb.LayerNorm, act=fb.activations.relu, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((2, 3, 3, 8))).shape
    (2, 10)

    The arguments are `Head`'s, without those of the layers that it has not, and this.

    Args:
        expansion: width between the two layers as a multiple of `in_features`.

    Source: Yu et al. 2024 (MetaFormer baselines), section 3.1.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        norm: ModuleFactory,
        act: Activation,
        expansion: float = 4,
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.expansion, self.make_norm = expansion, checks.function("norm", norm)
        super().__init__(in_features, num_classes, norm=norm, act=act, drop_rate=drop_rate, **make)

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replace the dropout and all of the classifier by new ones, as `Head` does."""
        super().reset_classifier(num_classes, rngs=rngs)
        make = ModuleArguments(dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)
        width = self.pooled_features
        wide = checks.scaled_features(width, "expansion", self.expansion)
        has = bool(num_classes)
        self.expand = nnx.data(Linear(width, wide, **make) if has else None)
        self.expand_norm = nnx.data(build("norm", self.make_norm, wide, **make) if has else None)
        self.classifier = nnx.data(Linear(wide, num_classes, **make) if has else None)

    def __call__(
        self, x: Float[Array, "n h w c"], *, pre_logits: bool = False
    ) -> Float[Array, "n d"]:
        """Classify.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            pre_logits: whether to stop before the dropout and the classifier.

        Returns:
            Logits of shape ``(n, num_classes)``, or features ``(n, in_features)`` where
            `num_classes` is 0 or with `pre_logits`.
        """
        x = self.pool(x)
        if pre_logits or self.classifier is None or self.expand is None:
            return x
        x = apply(self.dropout, x)
        x = apply(self.act, self.expand(x))
        x = apply(self.expand_norm, x)
        return self.classifier(x)
