# pyright: reportIncompatibleMethodOverride=false
"""The last layers of networks that classify every pixel."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.atrous_pyramid import AtrousPyramid
from flaxblocks.blocks.head import Head
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.initializers import Initialization
from flaxblocks.layers.optional import apply
from flaxblocks.layers.rngs import NetworkRngs
from flaxblocks.ops.activations import sigmoid
from flaxblocks.ops.resize import bilinear_resize

_unit = partial(ConvNormAct, use_bias=False)


class DenseHead(Head):
    """A 1x1 convolution, which classifies each pixel of what `pool` returns.

    Its layers are drawn as PyTorch's by default, whatever the network's own rules.

    Args:
        pooled_features: channels of what `pool` returns.
        num_classes: length of each pixel's output; 0 leaves out the dropout and the classifier.
        drop_rate: probability of dropping each value before the classifier in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        pooled_features: int,
        num_classes: int,
        *,
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.pooled_features = pooled_features
        rate = checks.fraction("drop_rate", drop_rate)
        self.drop_rate, self.dtype, self.param_dtype = rate, dtype, param_dtype
        self.reset_classifier(num_classes, rngs=rngs)

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replace the dropout and the classifier by new ones, as `Head` does."""
        super().reset_classifier(num_classes, rngs=rngs)
        self.classifier = nnx.data(self._pixel_classifier(self.pooled_features, num_classes, rngs))

    def _pixel_classifier(self, width: int, classes: int, rngs: nnx.Rngs) -> Conv | None:
        make = ModuleArguments(dtype=self.dtype, param_dtype=self.param_dtype, rngs=plain(rngs))
        return Conv(width, classes, 1, **make) if classes else None

    def __call__(
        self, x: Float[Array, "n h w c"], *, pre_logits: bool = False
    ) -> Float[Array, "n h w d"]:
        """Classify each pixel.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            pre_logits: whether to stop before the dropout and the classifier.

        Returns:
            Logits of shape ``(n, h, w, num_classes)``, or features
            ``(n, h, w, pooled_features)`` where `num_classes` is 0 or with `pre_logits`.
        """
        x = self.pool(x)
        if pre_logits:
            return x
        x = apply(self.dropout, x)
        return apply(self.classifier, x)


class FCNHead(DenseHead):
    """A 3x3 convolution to a quarter of the channels, then the classifier.

    >>> head = FCNHead(16, 5, rngs=nnx.Rngs(0))
    >>> head.eval()
    >>> jax.eval_shape(head, jnp.ones((2, 9, 9, 16))).shape
    (2, 9, 9, 5)

    The arguments are `Head`'s up to `drop_rate`, without those of the layers that it has not.

    Source: Long et al. 2015; `torchvision.models.segmentation.fcn.FCNHead`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        drop_rate: float = 0.1,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=plain(rngs))
        width = in_features // 4
        self.spatial = _unit(in_features, width, **make)
        super().__init__(width, num_classes, drop_rate=drop_rate, **make)

    def pool(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Return what the classifier reads, of shape ``(n, h, w, in_features // 4)``."""
        return self.spatial(x)


class DeepLabHead(DenseHead):
    """An `AtrousPyramid` and a 3x3 convolution, then the classifier.

    >>> head = DeepLabHead(16, 5, rngs=nnx.Rngs(0))
    >>> head.eval()
    >>> jax.eval_shape(head, jnp.ones((2, 9, 9, 16))).shape
    (2, 9, 9, 5)

    The arguments are `FCNHead`'s; the dropout is the pyramid's.

    Source: Chen et al. 2017; `torchvision.models.segmentation.deeplabv3.DeepLabHead`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        drop_rate: float = 0.5,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=plain(rngs))
        dilations = (12, 24, 36)
        self.pyramid = AtrousPyramid(
            in_features, 256, dilations=dilations, drop_rate=drop_rate, **make
        )
        self.spatial = _unit(256, 256, **make)
        super().__init__(256, num_classes, **make)

    def pool(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Return what the classifier reads, of shape ``(n, h, w, 256)``."""
        return self.spatial(self.pyramid(x))


class LRASPPHead(DenseHead):
    """Classify a deep map, gated by its mean, and an earlier, larger one; add the two.

    >>> head = LRASPPHead(16, 5, low_features=8, rngs=nnx.Rngs(0))
    >>> head.eval()
    >>> jax.eval_shape(head, jnp.ones((2, 9, 9, 8)), jnp.ones((2, 5, 5, 16))).shape
    (2, 9, 9, 5)

    The arguments are `FCNHead`'s, and this.

    Args:
        low_features: channels of the larger map.

    Source: Howard et al. 2019, section 6.4, figure 10, "lite reduced atrous spatial pyramid
    pooling".
    """

    classifiers = ("classifier", "low_classifier")

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        low_features: int,
        drop_rate: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=plain(rngs))
        self.low_features = low_features
        self.project = _unit(in_features, 128, 1, **make)
        self.gate = _unit(in_features, 128, 1, norm=None, act=sigmoid, **make)
        super().__init__(128, num_classes, drop_rate=drop_rate, **make)

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replace the dropout and both classifiers by new ones, as `Head` does."""
        super().reset_classifier(num_classes, rngs=rngs)
        self.low_classifier = nnx.data(self._pixel_classifier(self.low_features, num_classes, rngs))

    def __call__(
        self,
        low: Float[Array, "n p q b"],
        high: Float[Array, "n h w c"],
        *,
        pre_logits: bool = False,
    ) -> Float[Array, "n p q d"]:
        """Classify each pixel.

        Args:
            low: the larger map, of shape ``(n, p, q, low_features)``.
            high: the deep map, of shape ``(n, h, w, in_features)``.
            pre_logits: whether to stop before the dropout and the classifiers.

        Returns:
            Logits of shape ``(n, p, q, num_classes)``, or features ``(n, p, q, 128)`` of the deep
            map where `num_classes` is 0 or with `pre_logits`.
        """
        x = self.project(high) * self.gate(high.mean((1, 2), keepdims=True))
        x = bilinear_resize(x, low.shape[1:3])
        if pre_logits or self.low_classifier is None:
            return x
        x = apply(self.dropout, x)
        return self.low_classifier(low) + apply(self.classifier, x)


def plain(rngs: nnx.Rngs) -> nnx.Rngs:
    """Return the streams, for layers that are drawn as PyTorch's by default."""
    return NetworkRngs(rngs, Initialization())
