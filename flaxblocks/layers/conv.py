"""The convolution layer: NNX's, with PyTorch's padding and initialization."""

from collections.abc import Mapping
from math import sqrt
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from flax.typing import PrecisionLike
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from flaxblocks._base import checks
from flaxblocks.layers.initializers import Initializer, Uniform
from flaxblocks.layers.rngs import initialization_of
from flaxblocks.layers.scopes import Scoped
from flaxblocks.ops import conv_general_dilated

Padding = int | tuple[int, int] | Literal["SAME", "VALID"] | None


class Conv(Scoped, nnx.Conv):
    """A 2-D convolution over NHWC with PyTorch's padding and default initialization.

    >>> conv = fb.Conv(3, 8, 3, stride=2, rngs=nnx.Rngs(0))
    >>> conv(jnp.ones((1, 7, 7, 3))).shape
    (1, 4, 4, 8)

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        kernel_size: height and width of the kernel in pixels; one number serves for both.
        stride: step of the window in pixels.
        dilation: distance between the kernel's taps in pixels.
        groups: blocks into which the channels are split; `in_features` makes it depthwise.
        padding: zeros on each side in pixels. The default is symmetric,
            ``dilation * (kernel_size - 1) // 2``, as PyTorch's models have it. ``"SAME"`` is
            TensorFlow's rule, which pads unevenly at stride 2; ``"VALID"`` pads nothing.
        use_bias: whether a bias is added.
        dtype: dtype of the computation; inferred from input and parameters where absent.
        param_dtype: dtype of the parameters.
        precision: precision of the products, see `jax.lax.Precision`.
        kernel_init: initializer of the kernel; PyTorch's uniform over
            ``+-1 / sqrt(fan_in)`` where absent.
        bias_init: initializer of the bias; the same interval where absent.
        kernel_metadata: metadata of the kernel's variable, such as its sharding.
        bias_metadata: metadata of the bias's variable.
        rngs: random streams; ``params`` is drawn from.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if a size is out of range or `groups` does not divide both channel counts.

    Source: `torch.nn.Conv2d`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        padding: Padding = None,
        use_bias: bool = True,
        dtype: jnp.dtype | type | None = None,
        param_dtype: jnp.dtype | type = jnp.float32,
        precision: PrecisionLike = None,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        rngs: nnx.Rngs,
    ):
        in_features = checks.positive_int("in_features", in_features)
        out_features = checks.positive_int("out_features", out_features)
        groups = checks.positive_int("groups", groups)
        if in_features % groups or out_features % groups:
            raise ValueError(
                f"`groups` must divide `in_features` and `out_features`, got groups={groups} for "
                f"{in_features} and {out_features} channels"
            )
        kernel = checks.pair("kernel_size", kernel_size)
        dilations = checks.pair("dilation", dilation)
        default = Uniform(1 / sqrt(in_features // groups * kernel[0] * kernel[1]))
        rules = initialization_of(rngs)
        super().__init__(
            in_features,
            out_features,
            kernel,
            strides=checks.pair("stride", stride),
            padding=_explicit_padding(padding, kernel, dilations),
            kernel_dilation=dilations,
            feature_group_count=groups,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init or rules.conv_kernel(groups) or default,
            bias_init=bias_init or rules.conv_bias or default,
            conv_general_dilated=conv_general_dilated,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
            rngs=rngs,
        )

    def __call__(
        self,
        x: Float[Array, "n h w c"],
        out_sharding: NamedSharding | PartitionSpec | None = None,
    ) -> Float[Array, "n p q d"]:
        """Convolve.

        Args:
            x: input of shape ``(n, h, w, in_features)``.
            out_sharding: sharding of the output in explicit sharding mode.

        Returns:
            Output of shape ``(n, p, q, out_features)``.

        Raises:
            ValueError: if `x` is not NHWC with `in_features` channels.
        """
        check_nhwc(x, self.in_features)
        return super().__call__(x, out_sharding)


def convolve(x: jax.Array, kernel: jax.Array, layer: Any, groups: Any) -> jax.Array:
    """Return NHWC images convolved with a kernel by a layer's strides, padding and dilation.

    Args:
        x: images of shape ``(n, h, w, c)``.
        kernel: of shape ``(height, width, c // groups, d)``.
        layer: whose window it is; as `Conv` has it.
        groups: blocks into which the channels are split; an integer, or a symbolic dimension.
    """
    return conv_general_dilated(
        x,
        kernel,
        layer.strides,
        layer.padding,
        rhs_dilation=layer.kernel_dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def check_nhwc(x: jax.Array, in_features: int) -> None:
    """Refuse an input that is not NHWC with `in_features` channels.

    Raises:
        ValueError: it says which axis looks like the channels.
    """
    if x.ndim == 4 and x.shape[-1] == in_features:
        return
    needed = f"`x` must have shape (n, h, w, {in_features}), got {tuple(x.shape)}"
    if x.ndim == 4 and x.shape[1] == in_features:
        needed += "; axis 1 looks like the channels (NCHW): move it last, x.transpose(0, 2, 3, 1)"
    raise ValueError(needed)


def _explicit_padding(
    padding: Padding, kernel: tuple[int, int], dilation: tuple[int, int]
) -> str | tuple[tuple[int, int], ...]:
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(
                f"`padding` must be a number of pixels, 'SAME' or 'VALID', got {padding!r}"
            )
        return padding
    if padding is None:
        pixels = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    else:
        pixels = checks.pair("padding", padding, least=0)
    return tuple((p, p) for p in pixels)
