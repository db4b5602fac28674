# pyright: reportUnknownMemberType=false
"""Attention that mixes a map's rows and its columns."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import sigmoid
from flaxblocks.ops.explicit_sharding import reshape_images


class BilinearTransform(Scoped):
    """Mix the blocks of rows, and of columns, of a map by weights computed from it.

    ``project(rows @ x @ columns)`` for each channel, where the map is cut into `size` blocks of
    rows and as many of columns: a pixel is mixed with those at its place in the other blocks. The
    weights are products of the strongest pixels of each block, the same for a group of channels;
    each row of `rows` and each column of `columns` has the sum 1.

    >>> mix = BilinearTransform(8, size=2, groups=2, rngs=nnx.Rngs(0))
    >>> mix(jnp.ones((1, 6, 4, 8))).shape
    (1, 6, 4, 8)

    Args:
        features: channels of the input and the output.
        size: blocks along each axis.
        groups: groups of channels.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if a count is not an integer.
        ValueError: if a count is out of range, or the groups do not divide the channels.

    Source: Chi et al. 2020 (BAT), the released code.
    """

    def __init__(
        self,
        features: int,
        *,
        size: int,
        groups: int,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.size = checks.positive_int("size", size)
        checks.groups_of("groups", groups, features)
        self.groups = groups
        unit = partial(ConvNormAct, kernel_size=1, use_bias=False, **make)
        weights = partial(Conv, groups, size * size * groups, padding="VALID", **make)
        self.squeeze = unit(features, groups)
        self.rows = weights((size, 1))
        self.columns = weights((1, size))
        self.project = unit(features, features)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Mix.

        Args:
            x: input of shape ``(n, h, w, features)``; `size` divides `h` and `w`.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if `size` does not divide the height and the width.
        """
        _, height, width, features = x.shape
        size = self.size
        if height % size or width % size:
            raise ValueError(
                f"`x` must have a height and a width that {size} divides, got {height} x {width}"
            )
        strongest = self.squeeze(x)
        of_rows = _largest((2,), reshape_images(strongest, size, -1, self.groups))
        of_columns = _largest((1, 3), reshape_images(strongest, height, size, -1, self.groups))
        rows = self._weights(self.rows(of_rows[:, :, None]))
        columns = self._weights(self.columns(of_columns[:, None]))
        rows, columns = rows / rows.sum(3, keepdims=True), columns / columns.sum(2, keepdims=True)
        blocks = reshape_images(x, size, height // size, size, width // size, self.groups, -1)
        y = jnp.einsum("ngij,njakbgc->niakbgc", rows, blocks)
        y = jnp.einsum("niakbgc,ngkl->nialbgc", y, columns)
        return self.project(reshape_images(y, height, width, features))

    def _weights(self, y: jax.Array) -> jax.Array:
        """Return a matrix of weights for each image and group, of shape (n, groups, size, size)."""
        return reshape_images(sigmoid(y), self.groups, self.size, self.size)


@partial(jax.custom_jvp[jax.Array], nondiff_argnums=(0,))
def _largest(axes: tuple[int, ...], x: jax.Array) -> jax.Array:
    """Return the largest pixel of each block, of which some axes are the pixels.

    Its derivative is that of the pixel's place; the one of `x.max` compares values with their
    maximum, which XLA may have rounded otherwise, and divides by how many are equal.
    """
    return x.max(axes)


@_largest.defjvp
def _largest_jvp(
    axes: tuple[int, ...], primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    arrays = (jnp.moveaxis(array, axes, range(-len(axes), 0)) for array in (*primals, *tangents))
    x, tangent = (reshape_images(a, *a.shape[1 : -len(axes)], -1) for a in arrays)
    place = x.argmax(-1, keepdims=True)
    values, changes = (jnp.take_along_axis(array, place, -1)[..., 0] for array in (x, tangent))
    return values, changes


class BilinearAttention(Scoped):
    """``x + dropout(expand(transform(reduce(x))))``: a `BilinearTransform` on fewer channels.

    >>> attention = BilinearAttention(32, reduce_features=8, size=2, rngs=nnx.Rngs(0))
    >>> attention.eval()
    >>> attention(jnp.ones((1, 6, 4, 32))).shape
    (1, 6, 4, 32)

    Args:
        in_features: channels of the input and the output.
        reduce_features: channels that are mixed.
        size: blocks of rows and of columns, see `BilinearTransform`.
        groups: groups of channels with weights of their own.
        drop_rate: probability of dropping each channel of an image before the sum, in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Chi et al. 2020 (BAT), the released code.
    """

    def __init__(
        self,
        in_features: int,
        *,
        reduce_features: int,
        size: int = 7,
        groups: int = 2,
        drop_rate: float = 0.2,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, kernel_size=1, use_bias=False, **make)
        self.reduce = unit(in_features, reduce_features)
        self.transform = BilinearTransform(reduce_features, size=size, groups=groups, **make)
        self.expand = unit(reduce_features, in_features)
        rate = checks.fraction("drop_rate", drop_rate)
        self.dropout = nnx.Dropout(rate, broadcast_dims=(1, 2), rngs=rngs) if rate else None

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Mix, and add.

        Args:
            x: input of shape ``(n, h, w, in_features)``; `size` divides `h` and `w`.

        Returns:
            An array of the input's shape.
        """
        y = self.expand(self.transform(self.reduce(x)))
        return x + apply(self.dropout, y)
