# pyright: reportUnknownMemberType=false
"""The attention block of MobileNetV4."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Conv, Padding
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.initializers import Initialization, xavier_uniform
from flaxblocks.layers.layer_scale import optional_layer_scale, scaled_by
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.rngs import NetworkRngs
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.explicit_sharding import reshape_images


class MultiQueryAttention(Scoped):
    """Attention over the pixels, of which all heads share keys and values.

    ``project(softmax(query(x) @ key(y) / sqrt(head_features)) @ value(y))``, where ``y`` is `x`, or
    what a depthwise convolution with a stride and a normalization make of it, one for the keys
    and one for the values.

    >>> attention = MultiQueryAttention(16, 16, heads=2, head_features=8, rngs=nnx.Rngs(0))
    >>> attention(jnp.ones((1, 5, 5, 16))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        heads: how many queries a pixel has.
        head_features: length of a query, a key and a value.
        stride: step in pixels between those that have a key and a value.
        kernel_size: height and width in pixels of the depthwise kernel, where `stride` is not 1.
        dilation: distance between that kernel's taps in pixels.
        padding: of that convolution, as `Conv` takes it; symmetric where absent.
        norm: makes the normalization after it, see `ConvNormAct`.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from, as by Glorot and Bengio 2010.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Shazeer 2019, section 3; Qin et al. 2024, section 5 (the stride).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        heads: int,
        head_features: int,
        stride: int = 1,
        kernel_size: int | tuple[int, int] = 3,
        dilation: int | tuple[int, int] = 1,
        padding: Padding = None,
        norm: ModuleFactory | None = BatchNorm,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.heads = checks.positive_int("heads", heads)
        self.head_features = checks.positive_int("head_features", head_features)
        rngs = NetworkRngs(rngs, Initialization(conv=xavier_uniform))
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        linear = partial(Conv, kernel_size=1, use_bias=False, **make)
        shrink = partial(
            ConvNormAct,
            in_features,
            in_features,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=in_features,
            padding=padding,
            use_bias=False,
            norm=norm,
            act=None,
            **make,
        )
        self.query = linear(in_features, heads * head_features)
        self.shrink_keys = shrink() if stride > 1 else None
        self.key = linear(in_features, head_features)
        self.shrink_values = shrink() if stride > 1 else None
        self.value = linear(in_features, head_features)
        self.project = linear(heads * head_features, out_features)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Attend.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        _, height, width, _ = x.shape
        queries = reshape_images(self.query(x), -1, self.heads, self.head_features)
        keys = reshape_images(self.key(apply(self.shrink_keys, x)), -1, self.head_features)
        values = reshape_images(self.value(apply(self.shrink_values, x)), -1, self.head_features)
        y = _attend(queries, keys, values)
        return self.project(reshape_images(y, height, width, self.heads * self.head_features))


class MobileAttention(Scoped):
    """``layer_scale * attention(norm(x)) + x``, the residual only where the channels match.

    >>> block = MobileAttention(16, 16, heads=2, head_features=8, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 5, 5, 16))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        heads: see `MultiQueryAttention`.
        head_features: likewise.
        key_stride: its `stride`.
        kernel_size: likewise.
        stride: must be 1.
        dilation: likewise.
        padding: likewise.
        norm: makes each normalization, see `ConvNormAct`.
        layer_scale: first value of the scale of the residual branch; None for no scale.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Qin et al. 2024 (MobileNetV4), section 5.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        heads: int,
        head_features: int,
        key_stride: int = 1,
        kernel_size: int | tuple[int, int] = 3,
        stride: int = 1,
        dilation: int | tuple[int, int] = 1,
        padding: Padding = None,
        norm: ModuleFactory | None = BatchNorm,
        layer_scale: float | None = 1e-5,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if stride != 1:
            raise ValueError(f"`stride` must be 1 in an attention block, got {stride!r}")
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.norm = build("norm", norm, in_features, **make)
        self.attention = MultiQueryAttention(
            in_features,
            out_features,
            heads=heads,
            head_features=head_features,
            stride=key_stride,
            kernel_size=kernel_size,
            dilation=dilation,
            padding=padding,
            norm=norm,
            **make,
        )
        self.layer_scale = optional_layer_scale(layer_scale, out_features, param_dtype)
        self.residual = in_features == out_features
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Apply the block.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        y = apply(self.norm, x)
        y = self.attention(y)
        y = scaled_by(self.layer_scale, y)
        if self.residual:
            y = apply(self.drop_path, y)
            y = y + x.astype(y.dtype)
        return y


def _attend(queries: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Return a mean of the values for each head's query, the softmax in float32 or more."""
    wide = np.promote_types(queries.dtype, np.float32)
    queries = queries * jnp.asarray(queries.shape[-1] ** -0.5, queries.dtype)
    scores = jnp.einsum("nqhd,nkd->nqhk", queries, keys, preferred_element_type=wide)
    weights = jax.nn.softmax(scores).astype(values.dtype)
    return jnp.einsum("nqhk,nkd->nqhd", weights, values)
