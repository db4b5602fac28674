"""The feature pyramid: a network's maps of several sizes, each with what the deeper ones know."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.conv import Conv
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.initializers import Initialization, uniform_in, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.rngs import NetworkRngs
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import relu
from flaxblocks.ops.resize import nearest_resize

INITIALIZATION = Initialization(conv=uniform_in, conv_bias=zeros)

ExtraLevels = Callable[[Sequence[jax.Array], Sequence[jax.Array]], list[jax.Array]]
"""Makes further, smaller maps of the pyramid's maps and of those that the pyramid read."""


class FeaturePyramidNetwork(Scoped):
    """Give every map of a network the same channels, and add the deeper maps to the larger ones.

    ``output[i] = layers[i](merged[i])`` with ``merged[i] = inner[i](maps[i]) +
    nearest_resize(merged[i + 1])``.

    >>> model = fb.create_model("resnet18", num_classes=0, rngs=nnx.Rngs(0))
    >>> model.eval()
    >>> widths = [info.features for info in model.feature_info]
    >>> pyramid = fb.FeaturePyramidNetwork(
    ...     widths, 32, extra=fb.last_level_max_pool, rngs=nnx.Rngs(1)
    ... )
    >>> maps = jax.eval_shape(lambda x: pyramid(model.features(x)), jnp.ones((1, 64, 64, 3)))
    >>> [map.shape for map in maps]
    [(1, 16, 16, 32), (1, 8, 8, 32), (1, 4, 4, 32), (1, 2, 2, 32), (1, 1, 1, 32)]

    Args:
        in_features: channels of each map, the largest map first.
        out_features: channels of each map of the pyramid.
        extra: makes further, smaller maps: `last_level_max_pool`, a `LastLevelP6P7`; None for none.
        norm: makes the normalization of each convolution, see `ConvNormAct`; the convolutions have
            biases where there is none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or there is no map.

    Source: Lin et al. 2017, figure 3; `torchvision.ops.FeaturePyramidNetwork`.
    """

    def __init__(
        self,
        in_features: Sequence[int],
        out_features: int,
        *,
        extra: ExtraLevels | None = None,
        norm: ModuleFactory | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if not in_features:
            raise ValueError("`in_features` must have the channels of one map or more, got none")
        unit = partial(
            ConvNormAct,
            use_bias=norm is None,
            norm=norm,
            act=None,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=NetworkRngs(rngs, INITIALIZATION),
        )
        self.inner = nnx.List(unit(width, out_features, 1) for width in in_features)
        self.layers = nnx.List(unit(out_features, out_features, 3) for _ in in_features)
        self.extra = checks.function("extra", extra, optional=True)

    def __call__(self, maps: Sequence[Float[Array, "n _h _w _c"]]) -> list[jax.Array]:
        """Return the maps of the pyramid.

        Args:
            maps: a map for each of `in_features`, of shapes ``(n, h, w, c)``, the largest first.

        Returns:
            As many maps, of shapes ``(n, h, w, out_features)``, then those that `extra` makes.

        Raises:
            ValueError: if there are more or fewer maps.
        """
        if len(maps) != len(self.inner):
            raise ValueError(f"`maps` must be {len(self.inner)} feature maps, got {len(maps)}")
        merged: list[jax.Array] = []
        for inner, x in zip(reversed(self.inner), reversed(maps), strict=True):
            y = inner(x)
            merged.append(y + nearest_resize(merged[-1], y.shape[1:3]) if merged else y)
        results = [layer(y) for layer, y in zip(self.layers, reversed(merged), strict=True)]
        return results if self.extra is None else [*results, *self.extra(results, maps)]


def last_level_max_pool(
    results: Sequence[jax.Array], maps: Sequence[jax.Array]
) -> list[Float[Array, "n p q d"]]:
    """Return one more map: every second pixel of the pyramid's last.

    Args:
        results: the pyramid's maps.
        maps: the maps that it read.

    Source: `torchvision.ops.feature_pyramid_network.LastLevelMaxPool`.
    """
    return [results[-1][:, ::2, ::2]]


class LastLevelP6P7(Scoped):
    """Two more maps, each a convolution of stride 2: ``p6(x)`` and ``p7(relu(p6(x)))``.

    >>> extra = fb.LastLevelP6P7(512, 32, rngs=nnx.Rngs(0))
    >>> [map.shape for map in extra([jnp.ones((1, 5, 5, 32))], [jnp.ones((1, 5, 5, 512))])]
    [(1, 3, 3, 32), (1, 2, 2, 32)]

    Args:
        in_features: channels of what is read: of the last map that the pyramid reads, or, where it
            is `out_features`, of the last of the pyramid.
        out_features: channels of the maps.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Lin et al. 2017 (RetinaNet), section 4; `torchvision.ops.feature_pyramid_network`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        rngs = NetworkRngs(rngs, INITIALIZATION)
        halve = partial(Conv, stride=2, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.p6 = halve(in_features, out_features, 3)
        self.p7 = halve(out_features, out_features, 3)
        self.reads_result = in_features == out_features

    def __call__(
        self, results: Sequence[jax.Array], maps: Sequence[jax.Array]
    ) -> list[Float[Array, "n _p _q d"]]:
        """Return the two maps.

        Args:
            results: the pyramid's maps.
            maps: the maps that it read.
        """
        p6 = self.p6((results if self.reads_result else maps)[-1])
        return [p6, self.p7(relu(p6))]
