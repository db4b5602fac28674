# pyright: reportUnknownMemberType=false
"""The parts of MetaFormer: a scaled residual branch, and what stands in it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.blocks.residual import check_no_stride
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.layer_scale import optional_layer_scale, scaled_by
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.layers.star_relu import StarReLU
from flaxblocks.layers.stochastic_depth import optional_stochastic_depth
from flaxblocks.ops.explicit_sharding import reshape_images


class NormFirstResidual(Scoped):
    """``skip_scale * x + layer_scale * layer(norm(x))``: half of a block of MetaFormer.

    Args:
        in_features: channels of the input.
        out_features: channels of the output, the same number.
        layer: makes the layer: ``layer(features, features, dtype=, param_dtype=, rngs=)``.
        norm: makes the normalization: ``norm(features, dtype=, param_dtype=, rngs=)``; None for
            none.
        layer_scale: first value of the scale of the branch; None for no scale.
        skip_scale: first value of the scale of what goes past it; None for no scale.
        stride: must be 1.
        drop_path: probability of dropping the branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or the shape would change.

    Source: Yu et al. 2022, equations 2 and 3; Yu et al. 2024, section 2.6 (`skip_scale`).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        layer: ModuleFactory,
        norm: ModuleFactory | None,
        layer_scale: float | None = None,
        skip_scale: float | None = None,
        stride: int | tuple[int, int] = 1,
        drop_path: float = 0.0,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_no_stride(stride)
        if out_features != in_features:
            raise ValueError(
                f"`out_features` must be `in_features`, {in_features}, got {out_features}"
            )
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.norm = build("norm", norm, in_features, **make)
        self.layer = checks.function("layer", layer)(in_features, in_features, **make)
        self.layer_scale = optional_layer_scale(layer_scale, in_features, param_dtype)
        self.skip_scale = optional_layer_scale(skip_scale, in_features, param_dtype)
        self.drop_path = optional_stochastic_depth(drop_path, rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Apply the branch and add the input.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of the input's shape.
        """
        y = self.layer(apply(self.norm, x))
        y = scaled_by(self.layer_scale, y)
        y = apply(self.drop_path, y)
        return scaled_by(self.skip_scale, x.astype(y.dtype)) + y


class Perceptron(Scoped):
    """``project(depthwise(act(expand(x))))``: wide, perhaps filtered, narrow again.

    >>> mixer = Perceptron(8, 8, expansion=2, rngs=nnx.Rngs(0))
    >>> mixer(jnp.ones((1, 9, 9, 8))).shape
    (1, 9, 9, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        expansion: the wide width as a multiple of `in_features`.
        use_bias: whether the two layers have a bias.
        act: makes the activation: ``act(dtype=, param_dtype=, rngs=)``.
        pointwise: makes the two layers: ``pointwise(in_features, out_features, use_bias=, dtype=,
            param_dtype=, rngs=)``; `Linear`, or ``partial(Conv, kernel_size=1)``.
        depthwise: makes a filter of the wide channels (ConvFormer): ``depthwise(features, dtype=,
            param_dtype=, rngs=)``; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Yu et al. 2024, section 2.3 (the separable convolution).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        expansion: float = 4,
        use_bias: bool = False,
        act: Callable[..., Callable[[jax.Array], jax.Array]] = StarReLU,
        pointwise: ModuleFactory = Linear,
        depthwise: ModuleFactory | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        wide = checks.scaled_features(in_features, "expansion", expansion)
        layer = checks.function("pointwise", pointwise)
        self.expand = layer(in_features, wide, use_bias=use_bias, **make)
        self.act = checks.function("act", act)(**make)
        self.depthwise = build("depthwise", depthwise, wide, **make)
        self.project: Any = layer(wide, out_features, use_bias=use_bias, **make)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Apply the layers.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        x = self.act(self.expand(x))
        return self.project(apply(self.depthwise, x))


class SelfAttention(Scoped):
    """Multi-head attention of all pixels to each other.

    >>> attention = SelfAttention(16, 16, head_features=8, rngs=nnx.Rngs(0))
    >>> attention(jnp.ones((1, 5, 5, 16))).shape
    (1, 5, 5, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        head_features: channels of each head, of which there are as many as fit into `in_features`.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the heads do not fill the channels.

    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        head_features: int = 32,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.head_features = checks.positive_int("head_features", head_features)
        self.heads, rest = divmod(checks.positive_int("in_features", in_features), head_features)
        if rest or not self.heads:
            raise ValueError(
                f"`head_features` must divide the {in_features} channels, got {head_features}"
            )
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.queries_keys_values = Linear(in_features, 3 * in_features, use_bias=False, **make)
        self.project = Linear(in_features, out_features, use_bias=False, **make)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Attend.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        _, height, width, features = x.shape
        vectors = self.queries_keys_values(x)
        heads = reshape_images(vectors, height * width, 3, self.heads, self.head_features)
        queries, keys, values = heads[:, :, 0], heads[:, :, 1], heads[:, :, 2]
        queries = queries * jnp.asarray(self.head_features**-0.5, queries.dtype)
        wide = np.promote_types(queries.dtype, np.float32)
        scores = jnp.einsum("nqhd,nkhd->nhqk", queries, keys, preferred_element_type=wide)
        weights = jax.nn.softmax(scores).astype(values.dtype)
        means = jnp.einsum("nhqk,nkhd->nqhd", weights, values)
        return self.project(reshape_images(means, height, width, features))
