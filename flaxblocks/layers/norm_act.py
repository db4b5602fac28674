"""A normalization and an activation where no convolution stands before them."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.activating_norm import ActivatingNorm
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.optional import ModuleFactory, apply, build
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


class NormAct(Scoped):
    """``act(norm(x))``.

    Args:
        num_features: channels of the input.
        norm: makes the normalization, see `ConvNormAct`.
        act: activation; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if `num_features` is out of range.
    """

    def __init__(
        self,
        num_features: int,
        *,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.norm = build("norm", norm, num_features, **make)
        self.act = checks.function("act", act, optional=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Normalize, activate; the shape stays."""
        if isinstance(self.norm, ActivatingNorm):
            return self.norm(x, act=self.act)
        return apply(self.act, apply(self.norm, x))
