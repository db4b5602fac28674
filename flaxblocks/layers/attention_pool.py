# pyright: reportUnknownMemberType=false
"""Attention in the place of a mean over the pixels."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks._base.dtypes import at_least_float32
from flaxblocks.layers.conv import check_nhwc
from flaxblocks.layers.initializers import Initialization, Normal, zeros
from flaxblocks.layers.linear import Linear
from flaxblocks.layers.rngs import NetworkRngs
from flaxblocks.layers.scopes import Scoped


class AttentionPool(Scoped):
    """Return what the mean of the pixels finds, by attention, among them and itself.

    ``softmax(query(mean) @ key(tokens) / sqrt(head_features)) @ value(tokens)`` in each head, where
    the tokens are the mean and the pixels, and each has its position's learned values added. On a
    map of another size the pixels' positions are interpolated.

    >>> pool = AttentionPool(16, size=(3, 3), head_features=8, rngs=nnx.Rngs(0))
    >>> pool(jnp.ones((2, 3, 3, 16))).shape
    (2, 16)

    Args:
        in_features: channels of the input, and length of the output.
        size: height and width of the maps that the positions are learned for, in pixels.
        head_features: length of a query, a key and a value.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if a count is not an integer.
        ValueError: if a count is out of range, or the heads do not divide the channels.

    Source: Radford et al. 2021 (CLIP), section 2.4, the released code.
    """

    def __init__(
        self,
        in_features: int,
        *,
        size: tuple[int, int],
        head_features: int = 64,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.size = checks.pair("size", size)
        self.heads = checks.groups_of("head_features", head_features, in_features)
        self.dtype = dtype
        draw = Normal(in_features**-0.5)
        rngs = NetworkRngs(rngs, Initialization(linear=draw, linear_bias=zeros))
        linear = partial(
            Linear, in_features, in_features, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )
        tokens = self.size[0] * self.size[1] + 1
        self.positions = nnx.Param(draw(rngs.params(), (tokens, in_features), param_dtype))
        self.query, self.key, self.value = linear(), linear(), linear()

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
        """Pool.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of shape ``(n, in_features)``.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        n, height, width, features = x.shape
        check_nhwc(x, self.query.in_features)
        x = x.astype(self.dtype or jnp.result_type(x, self.positions[...]))
        pixels = x.reshape(n, height * width, features)
        tokens = jnp.concatenate([pixels.mean(1, keepdims=True), pixels], 1)
        tokens = tokens + self._positions(height, width).astype(x.dtype)[None]

        heads = (self.heads, features // self.heads)
        query = self.query(tokens[:, 0]).reshape(n, *heads)
        key, value = (part(tokens).reshape(n, -1, *heads) for part in (self.key, self.value))
        scores = jnp.einsum("nhd,nthd->nht", query, key) / heads[1] ** 0.5
        weights = jax.nn.softmax(scores.astype(at_least_float32(x.dtype)))
        y = jnp.einsum("nht,nthd->nhd", weights.astype(value.dtype), value)
        return y.reshape(n, features)

    def _positions(self, height: int, width: int) -> jax.Array:
        """Return the values of the mean's position and of the pixels', on a map of that size."""
        positions = self.positions[...]
        if (height, width) == self.size:
            return positions
        grid = positions[1:].reshape(*self.size, -1)
        shape = (height, width, grid.shape[-1])
        resized = cast(
            jax.Array, jax.image.resize(grid, shape, "bicubic")
        )  # antialiased, as timm's is
        return jnp.concatenate([positions[:1], resized.reshape(height * width, -1)])
