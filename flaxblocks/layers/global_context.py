"""The global context: a weighted mean over the pixels, which gates them or is added to them."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv import Conv, check_nhwc
from flaxblocks.layers.layer_norm import LayerNorm
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu, sigmoid


class GlobalContext(Scoped):
    """Scale each channel by a gate computed from a weighted mean over the pixels.

    ``x * gate(expand(act(norm(reduce(context)))))``, where ``context`` is the sum of the pixels,
    weighted by the softmax over all of them of ``attend(x)``. Without a gate it is
    ``x + expand(...)``, as the paper has it.

    >>> gate = GlobalContext(32, squeeze_features=8, rngs=nnx.Rngs(0))
    >>> gate(jnp.ones((1, 5, 5, 32))).shape
    (1, 5, 5, 32)

    Args:
        in_features: channels of the input and the output.
        squeeze_features: squeezed channels.
        act: activation after the normalization.
        gate: function that maps the result of `expand` to the scale; None adds that result.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a count is out of range.

    Source: Cao et al. 2019 (GCNet), section 3.3; the product in place of its sum is timm's.
    """

    def __init__(
        self,
        in_features: int,
        *,
        squeeze_features: int,
        act: Activation = relu,
        gate: Activation | None = sigmoid,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.attend = Conv(in_features, 1, 1, **make)
        self.reduce = Conv(in_features, squeeze_features, 1, **make)
        self.norm = LayerNorm(squeeze_features, epsilon=1e-6, **make)
        self.expand = Conv(squeeze_features, in_features, 1, **make)
        self.act = checks.function("act", act)
        self.gate = checks.function("gate", gate, optional=True)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Gate, or add.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            An array of the input's shape.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.expand.out_features)
        weights = jax.nn.softmax(self.attend(x), (1, 2))
        context = (x * weights.astype(x.dtype)).sum((1, 2), keepdims=True)
        y = self.expand(self.act(self.norm(self.reduce(context))))
        return x + y if self.gate is None else x * self.gate(y)
