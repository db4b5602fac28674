"""The ghost module: features, and more of them from a cheap convolution of each."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import average_pool
from flaxblocks.ops.activations import Activation, relu, sigmoid


class GhostModule(Scoped):
    """A 1x1 convolution makes half of the features, a depthwise one the others from these.

    ``concatenate(y, cheap(y)) * gate(x)``, with ``y = primary(x)``; without `keep` it is
    ``cheap(y)`` alone.

    >>> module = fb.GhostModule(8, 12, rngs=nnx.Rngs(0))
    >>> module(jnp.ones((1, 5, 5, 8))).shape
    (1, 5, 5, 12)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the depthwise kernel in pixels.
        keep: whether the first convolution's features are half of the output; else both
            convolutions have as many as the output (RepGhost).
        primary: makes the 1x1 convolution, with `ConvNormAct`'s arguments; such as `RepConv`.
        cheap: makes the depthwise one likewise.
        gate: makes what the output is multiplied with: ``gate(in_features, out_features, use_bias=,
            norm=, dtype=, param_dtype=, rngs=)``, such as `AxialGate`; None for nothing.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each convolution; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Han et al. 2020, section 3.1; Chen et al. 2022, figure 3 (RepGhost).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | tuple[int, int] = 3,
        keep: bool = True,
        primary: ModuleFactory = ConvNormAct,
        cheap: ModuleFactory = ConvNormAct,
        gate: ModuleFactory | None = None,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        common = {"use_bias": use_bias, "norm": norm, **make}
        self.out_features = checks.positive_int("out_features", out_features)
        width = -(-out_features // 2) if keep else out_features
        self.primary = primary(in_features, width, 1, act=act, **common)
        self.cheap = cheap(width, width, kernel_size, groups=width, act=act, **common)
        make_gate = checks.function("gate", gate, optional=True)
        self.gate = None if make_gate is None else make_gate(in_features, out_features, **common)
        self.keep = keep

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Make the features.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, h, w, out_features)``.
        """
        y = self.primary(x)
        z = self.cheap(y)
        if self.keep:
            z = jnp.concatenate([y, z], -1)[..., : self.out_features]
        return z if self.gate is None else z * self.gate(x)


class AxialGate(Scoped):
    """A gate for each pixel, from a row and a column of pixels around it, at half the resolution.

    ``sigmoid(vertical(horizontal(point(average_pool(x)))))``, each value for 2x2 pixels.

    >>> gate = AxialGate(8, 12, rngs=nnx.Rngs(0))
    >>> gate(jnp.ones((1, 5, 5, 8))).shape
    (1, 5, 5, 12)

    Args:
        in_features: channels of the input.
        out_features: channels of the gate.
        length: pixels of the row and of the column.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Source: Tang et al. 2022, section 3.2, "DFC attention" (GhostNetV2).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        length: int = 5,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm, act=None, **make)
        self.point = unit(in_features, out_features, 1)
        along = partial(unit, out_features, out_features, groups=out_features)
        self.horizontal = along((1, length))
        self.vertical = along((length, 1))

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Return the gate.

        Args:
            x: input of shape ``(n, h, w, in_features)``, at least 2 pixels high and wide.

        Returns:
            Values from 0 to 1 of shape ``(n, h, w, out_features)``.
        """
        y = self.point(average_pool(x))
        y = self.vertical(self.horizontal(y))
        return _nearest(sigmoid(y), x.shape[1], x.shape[2])


def _nearest(x: jax.Array, height: int, width: int) -> jax.Array:
    """Enlarge an image: each pixel is the one at the same place, rounded down."""
    rows = np.arange(height) * x.shape[1] // height
    columns = np.arange(width) * x.shape[2] // width
    return x[:, rows][:, :, columns]
