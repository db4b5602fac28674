"""A normalization that is an activation too."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks._base.dtypes import at_least_float32
from flaxblocks.layers.initializers import constant
from flaxblocks.layers.rngs import check_rngs
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, sigmoid


class EvoNorm(Scoped):
    """``x * sigmoid(gate * x) / sqrt(var + epsilon) * scale + bias``: norm and activation in one.

    The variance is each image's, over groups of channels. In a `ConvNormAct` it stands for the
    activation, whichever that is; where there is none, only scale and bias are left, or with
    `always` the division too.

    >>> norm = fb.EvoNorm(8, group_size=4, rngs=nnx.Rngs(0))
    >>> norm(jnp.ones((1, 4, 4, 8))).shape
    (1, 4, 4, 8)

    Args:
        num_features: channels of the input.
        num_groups: groups of channels that share a variance.
        group_size: channels of each group, in place of `num_groups`.
        epsilon: number added to the variance.
        always: whether the deviation divides where there is no activation, too.
        dtype: dtype of the result; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range, or the groups do not divide the channels.

    Source: Liu et al. 2020 (EvoNorm), table 3, EvoNorm-S0; `always` is timm's `EvoNorm2dS0a`.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_groups: int = 32,
        group_size: int | None = None,
        epsilon: float = 1e-5,
        always: bool = False,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_rngs(rngs)
        features = checks.positive_int("num_features", num_features)
        if group_size is None:
            self.group_size = checks.groups_of("num_groups", num_groups, features)
        else:
            self.group_size = features // checks.groups_of("group_size", group_size, features)
        self.always = always
        self.epsilon = checks.at_least_0("epsilon", epsilon)
        self.dtype = dtype
        self.scale = nnx.Param(constant(1, (features,), param_dtype))
        self.bias = nnx.Param(constant(0, (features,), param_dtype))
        self.gate = nnx.data(nnx.Param(constant(1, (features,), param_dtype)))

    def drop_activation(self) -> None:
        """Leave scale and bias alone, or with the division, as where no activation would follow."""
        self.gate = nnx.data(None)

    def __call__(
        self, x: Float[Array, "n h w c"], *, act: Activation | None = sigmoid
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
        gate = None if act is None else self.gate
        if gate is not None or self.always:
            groups = (*x.shape[:3], -1, self.group_size)
            deviation = jnp.sqrt(wide.reshape(groups).var((1, 2, 4), keepdims=True) + self.epsilon)
            if gate is not None:
                wide = wide * sigmoid(wide * over_channels(gate, wide))
            wide = (wide.reshape(groups) / deviation).reshape(x.shape)
        wide = wide * over_channels(self.scale, wide) + over_channels(self.bias, wide)
        return wide.astype(dtype)


def over_channels(variable: nnx.Variable[jax.Array], like: jax.Array) -> jax.Array:
    """Return a number for each channel, in the dtype of the images that it is to meet."""
    return variable[...].astype(like.dtype)[None, None, None]
