"""The last layers of a network."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import unbiased_unit
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


def image_mean(x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
    """Return the mean of each channel over the image."""
    return x.mean((1, 2))


class Head(Scoped):
    """Average each channel over the image and classify.

    ``classifier(dropout(hidden_norm(act(hidden(norm(mean(neck(conv(x)))))))))``, of which only the
    mean is always there.

    >>> head = fb.Head(8, 10, conv_features=32, rngs=nnx.Rngs(0))
    >>> head(jnp.ones((2, 3, 3, 8))).shape
    (2, 10)

    Args:
        in_features: channels of the input.
        num_classes: length of the output; 0 leaves out the dropout and the classifier, and what
            they would have read comes out.
        conv_features: channels after a 1x1 convolution, with norm and activation, before the
            mean; None for no convolution (MobileNetV2).
        hidden_features: width of a layer, with activation, after the mean; None for none
            (MobileNetV3).
        hidden: makes that layer: ``hidden(width, hidden_features, dtype=, param_dtype=, rngs=)``,
            linear or, as timm has it, ``partial(ConvNormAct, kernel_size=1, act=None)``.
        hidden_norm: makes the normalization of what that layer returns, activated (InceptionNeXt),
            as `norm`; None for none.
        neck: makes what stands right before the mean, as `norm`: a normalization, or the
            activation that the stages left out (RegNetZ); None for nothing.
        norm: makes the normalization of the mean (ConvNeXt): ``norm(features, dtype=,
            param_dtype=, rngs=)``; None for none.
        conv: makes that convolution, with `ConvNormAct`'s arguments.
        conv_norm: makes its normalization, see `ConvNormAct`.
        act: activation after the convolution and after the hidden layer.
        drop_rate: probability of dropping each value before the classifier in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Attributes:
        pooled_features: length of what the classifier reads.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Sandler et al. 2018, table 2; Howard et al. 2019, section 5.1 (hidden layer).
    """

    classifiers = ("classifier",)  # the attributes whose shapes follow from `num_classes`

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        conv_features: int | None = None,
        hidden_features: int | None = None,
        hidden: ModuleFactory = Linear,
        hidden_norm: ModuleFactory | None = None,
        neck: ModuleFactory | None = None,
        norm: ModuleFactory | None = None,
        conv: ModuleFactory = unbiased_unit,
        conv_norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        width = conv_features or in_features
        self.pooled_features = hidden_features or width
        self.conv: Any = (
            None
            if conv_features is None
            else conv(in_features, width, 1, norm=conv_norm, act=act, **make)
        )
        self.neck = build("neck", neck, width, **make)
        self.norm = build("norm", norm, width, **make)
        self.hidden = None if hidden_features is None else hidden(width, hidden_features, **make)
        self.hidden_norm = build("hidden_norm", hidden_norm, self.pooled_features, **make)
        self.act = checks.function("act", act, optional=True)
        rate = checks.fraction("drop_rate", drop_rate)
        self.drop_rate, self.dtype, self.param_dtype = rate, dtype, param_dtype
        self.reset_classifier(num_classes, rngs=rngs)

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replace the dropout and the classifier by new ones.

        Args:
            num_classes: length of the output; 0 for neither.
            rngs: random streams; ``params`` and ``dropout`` are drawn from.

        Raises:
            TypeError: if `num_classes` is not an integer.
            ValueError: if it is negative.
        """
        classes = checks.natural_int("num_classes", num_classes)
        make = ModuleArguments(dtype=self.dtype, param_dtype=self.param_dtype, rngs=rngs)
        drops = classes and self.drop_rate
        self.dropout = nnx.data(nnx.Dropout(self.drop_rate, rngs=rngs) if drops else None)
        self.classifier = nnx.data(
            Linear(self.pooled_features, classes, **make) if classes else None
        )

    def __call__(
        self, x: Float[Array, "n h w c"], *, pre_logits: bool = False
    ) -> Float[Array, "n d"]:
        """Classify.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            pre_logits: whether to stop before the dropout and the classifier.

        Returns:
            Logits of shape ``(n, num_classes)``, or features ``(n, pooled_features)`` where
            `num_classes` is 0 or with `pre_logits`.
        """
        x = self.pool(x)
        if pre_logits:
            return x
        x = apply(self.dropout, x)
        return apply(self.classifier, x)

    def pool(
        self, x: Float[Array, "n h w c"], mean: Activation = image_mean
    ) -> Float[Array, "n d"]:
        """Return what the classifier reads, of shape ``(n, pooled_features)``.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            mean: computes the mean of each channel over the image.
        """
        x = apply(self.conv, x)
        x = apply(self.neck, x)
        x = mean(x)
        x = apply(self.norm, x)
        if self.hidden is not None:
            x = apply(self.act, _on_vectors(self.hidden, x))
        return apply(self.hidden_norm, x)


def _on_vectors(layer: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Apply a linear layer, or a convolution as if each vector were an image of one pixel."""
    if isinstance(layer, Linear):
        return layer(x)
    return layer(x[:, None, None]).squeeze((1, 2))
