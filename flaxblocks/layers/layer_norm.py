"""Layer normalization over the channels."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks._base import checks
from flaxblocks.layers.initializers import ones, zeros
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped


class LayerNorm(Scoped, nnx.LayerNorm):
    """Normalize each pixel over its channels: ``(x - mean) / sqrt(var + epsilon) * scale + bias``.

    NNX's layer with PyTorch's default `epsilon`, and the variance taken about the mean, where
    NNX by default subtracts two squares that may be large.

    >>> norm = fb.LayerNorm(8, rngs=nnx.Rngs(0))
    >>> norm(jnp.ones((1, 4, 4, 8))).shape
    (1, 4, 4, 8)

    Args:
        num_features: channels of the input.
        epsilon: number added to the variance.
        use_bias: whether a bias is added.
        dtype: dtype of the result; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        scale_metadata: metadata of the scale's variable, such as its sharding.
        bias_metadata: metadata of the bias's variable.
        rngs: random streams.

    Raises:
        TypeError: if `num_features` is not an integer.
        ValueError: if an argument is out of range.

    Source: Ba et al. 2016, equation 4; `torch.nn.LayerNorm`.
    """

    def __init__(
        self,
        num_features: int,
        *,
        epsilon: float = 1e-5,
        use_bias: bool = True,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        scale_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        super().__init__(
            checks.positive_int("num_features", num_features),
            epsilon=checks.at_least_0("epsilon", epsilon),
            dtype=dtype,
            param_dtype=param_dtype,
            use_bias=use_bias,
            bias_init=zeros,
            scale_init=ones,
            use_fast_variance=False,
            scale_metadata=scale_metadata,
            bias_metadata=bias_metadata,
            rngs=rngs,
        )

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        """Normalize.

        Args:
            x: input of shape ``(..., num_features)``.
            mask: where the mean and the variance are taken, in a shape that `x` has or is
                broadcast to; everywhere where absent.

        Returns:
            An array of the input's shape.
        """
        with jax.numpy_dtype_promotion("standard"):  # NNX meets half precision with float32
            return super().__call__(x, mask=mask)
