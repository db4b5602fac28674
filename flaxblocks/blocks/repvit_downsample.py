"""What halves the resolution between the stages of RepViT."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.layers.arguments import ModuleArguments
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.layers.scopes import Scoped


class RepViTDownsample(Scoped):
    """Filter and mix, halve the resolution, widen, mix again.

    ``mix_after(pointwise(depthwise(mix(spatial(x)))))``.

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        spatial: makes the filter: ``spatial(features, features, dtype=, param_dtype=, rngs=)``.
        mix: makes what mixes the channels of each pixel likewise.
        stride: step of the depthwise convolution in pixels.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Source: Wang et al. 2023, figure 5.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        spatial: ModuleFactory,
        mix: ModuleFactory,
        stride: int | tuple[int, int],
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        make = ModuleArguments(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        unit = partial(ConvNormAct, use_bias=False, act=None, **make)
        self.spatial = spatial(in_features, in_features, **make)
        self.mix = mix(in_features, in_features, **make)
        self.depthwise = unit(in_features, in_features, stride=stride, groups=in_features)
        self.pointwise = unit(in_features, out_features, 1)
        self.mix_after = mix(out_features, out_features, **make)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Apply the parts.

        Args:
            x: input of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        x = self.mix(self.spatial(x))
        x = self.pointwise(self.depthwise(x))
        return self.mix_after(x)
