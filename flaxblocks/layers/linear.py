"""The linear layer: NNX's, with PyTorch's initialization."""

from collections.abc import Mapping
from math import sqrt
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx

from flaxblocks._base import checks
from flaxblocks.layers.initializers import Uniform
from flaxblocks.layers.rngs import initialization_of
from flaxblocks.layers.scopes import Scoped


class Linear(Scoped, nnx.Linear):
    """``x @ kernel + bias``, over the last axis.

    >>> linear = fb.Linear(8, 3, rngs=nnx.Rngs(0))
    >>> linear(jnp.ones((2, 8))).shape
    (2, 3)

    Args:
        in_features: length of the last axis of the input.
        out_features: length of the last axis of the output.
        use_bias: whether a bias is added.
        dtype: dtype of the computation; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        kernel_metadata: metadata of the kernel's variable, such as its sharding.
        bias_metadata: metadata of the bias's variable.
        rngs: random streams; ``params`` is drawn from, uniformly over ``+-1 / sqrt(in_features)``.

    Raises:
        TypeError: if a count is not an integer.
        ValueError: if a count is below 1.

    Source: `torch.nn.Linear`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        rngs: nnx.Rngs,
    ):
        in_features = checks.positive_int("in_features", in_features)
        default, rules = Uniform(1 / sqrt(in_features)), initialization_of(rngs)
        super().__init__(
            in_features,
            checks.positive_int("out_features", out_features),
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            kernel_init=rules.linear or default,
            bias_init=rules.linear_bias or default,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
            rngs=rngs,
        )
