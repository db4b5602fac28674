"""The first layers of a network."""

from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory, apply
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops.activations import Activation, relu


class Stem(Scoped):
    """One convolution, or several (a "deep" stem), that shrink the image; then perhaps a pool.

    >>> stem = fb.Stem(3, (64,), kernel_size=7, pool=fb.ops.max_pool, rngs=nnx.Rngs(0))
    >>> stem(jnp.ones((1, 33, 33, 3))).shape, stem.stride
    ((1, 9, 9, 64), 4)

    Args:
        in_features: channels of the image.
        features: channels after each convolution.
        kernel_size: height and width of the kernels in pixels.
        stride: step of each convolution in pixels; one number is the first's, the others have 1.
        padding: zeros on each side in pixels, as `Conv` takes it; symmetric where absent.
        use_bias: whether the convolutions have a bias.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after each convolution; None for none.
        conv: makes each convolution, with `ConvNormAct`'s arguments; such as `RepConv` (RepVGG).
        bare: numbers of the convolutions that neither norm nor activation follows: -1, the last,
            in pre-activation networks.
        pool: halves the size at the end, such as `fb.ops.max_pool` (ResNet); None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Attributes:
        out_features: channels of the output.
        stride: pixels of the image per pixel of the output.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: He et al. 2016, table 1, conv1; He et al. 2019, section 4.1, ResNet-C (several).
    """

    def __init__(
        self,
        in_features: int,
        features: tuple[int, ...],
        *,
        kernel_size: int = 3,
        stride: int | tuple[int, ...] = 2,
        padding: Padding = None,
        use_bias: bool = False,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = relu,
        conv: ModuleFactory = ConvNormAct,
        bare: tuple[int, ...] = (),
        pool: Activation | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        given = {} if padding is None else {"padding": padding}
        make: Any = checks.function("conv", conv)
        unit = partial(
            make,
            kernel_size=kernel_size,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
            **given,
        )
        strides = (stride,) + (1,) * (len(features) - 1) if isinstance(stride, int) else stride
        if len(strides) != len(features):
            raise ValueError(
                f"`stride` must have a number for each of the {len(features)} convolutions, got "
                f"{stride!r}"
            )
        followers = [{"norm": norm, "act": act} for _ in features]
        for number in bare:
            followers[number] = {"norm": None, "act": None}
        widths = pairwise((in_features, *features))
        self.layers = nnx.List(
            unit(width, next_width, stride=step, **parts)
            for (width, next_width), step, parts in zip(widths, strides, followers, strict=True)
        )
        self.pool = checks.function("pool", pool, optional=True)
        self.out_features = features[-1]
        self.stride = prod(strides) * (1 if pool is None else 2)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q d"]:
        """Shrink the image.

        Args:
            x: image of shape ``(n, h, w, in_features)``.

        Returns:
            Output of shape ``(n, p, q, out_features)``.
        """
        for layer in self.layers:
            x = layer(x)
        return apply(self.pool, x)
