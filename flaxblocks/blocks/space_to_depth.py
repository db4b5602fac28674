"""The block of EfficientNet-X that moves pixels into channels."""

from functools import partial

import jax.numpy as jnp
from flax import nnx

from flaxblocks._base import checks
from flaxblocks.blocks.mbconv import MBConv
from flaxblocks.layers.batch_norm import BatchNorm
from flaxblocks.layers.conv_norm_act import ConvNormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.ops.activations import Activation, silu


class SpaceToDepth(MBConv):
    """An `MBConv` that expands by a 2x2 convolution, which quarters the pixels, by a factor of 4.

    Its depthwise kernel, which sees pixels of twice the size, is half as large, rounded up. There
    is no residual. Both windows have TensorFlow's padding.

    >>> block = SpaceToDepth(8, 16, stride=2, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 8, 8, 8))).shape
    (1, 4, 4, 16)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        stride: step of the 2x2 convolution in pixels.
        kernel_size: height and width of the depthwise kernel in pixels, before it is halved.
        norm: makes each normalization, see `ConvNormAct`.
        act: activation after the expansion and the depthwise convolution.
        se: makes the gate, see `MBConv`; None for none.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: Li et al. 2021 (EfficientNet-X), section 3.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int = 2,
        kernel_size: int = 3,
        norm: ModuleFactory | None = BatchNorm,
        act: Activation | None = silu,
        se: ModuleFactory | None = None,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        rngs: nnx.Rngs,
    ):
        size = checks.positive_int("kernel_size", kernel_size)
        super().__init__(
            in_features,
            out_features,
            4,
            expand=partial(ConvNormAct, kernel_size=2, stride=stride, padding="SAME"),
            kernel_size=(size + 1) // 2,
            padding="SAME",
            use_bias=False,
            norm=norm,
            act=act,
            final_act=None,
            se=se,
            residual=False,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
