"""A normalization by each channel's own strength, and the threshold that follows it."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks._base.dtypes import at_least_float32
from flaxblocks.layers.evo_norm import over_channels
from flaxblocks.layers.initializers import constant
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


class FilterResponseNorm(Scoped):
    """``max(x / sqrt(mean(x ** 2) + epsilon) * scale + bias, threshold)``.

    The mean is each image's and channel's own, so that a batch has no influence. In a `ConvNormAct`
    it stands for the activation, whichever that is; where there is none, so is no threshold.

    >>> norm = FilterResponseNorm(8, rngs=nnx.Rngs(0))
    >>> norm(jnp.ones((1, 4, 4, 8))).shape
    (1, 4, 4, 8)

    Args:
        num_features: channels of the input.
        epsilon: number added to the mean.
        dtype: dtype of the result; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Singh and Krishnan 2020, section 3 (FRN and TLU).
    """

    def __init__(
        self,
        num_features: int,
        *,
        epsilon: float = 1e-5,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        shape = (checks.positive_int("num_features", num_features),)
        self.epsilon = checks.at_least_0("epsilon", epsilon)
        self.dtype = dtype
        self.scale = nnx.Param(constant(1, shape, param_dtype))
        self.bias = nnx.Param(constant(0, shape, param_dtype))
        self.threshold = nnx.data(nnx.Param(constant(0, shape, param_dtype)))

    def drop_activation(self) -> None:
        """Leave the threshold out, as where no activation would follow."""
        self.threshold = nnx.data(None)

    def __call__(
        self, x: Float[Array, "n h w c"], *, act: Activation | None = relu
    ) -> Float[Array, "n h w c"]:
        """Normalize and activate.

        Args:
            x: input of shape ``(n, h, w, num_features)``.
            act: what it stands for; None for no activation.

        Returns:
            An array of the input's shape.
        """
        dtype = self.dtype or jnp.result_type(x, self.scale[...])
        wide = x.astype(at_least_float32(dtype))
        strength = jnp.sqrt((wide * wide).mean((1, 2), keepdims=True) + self.epsilon)
        wide = wide / strength * over_channels(self.scale, wide) + over_channels(self.bias, wide)
        if act is not None and self.threshold is not None:
            wide = jnp.maximum(wide, over_channels(self.threshold, wide))
        return wide.astype(dtype)
