"""The one door through which every convolution of the library goes."""

from collections.abc import Sequence

import jax
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: lax.ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: NamedSharding | PartitionSpec | None = None,
) -> jax.Array:
    """Convolve as `jax.lax.conv_general_dilated` does, same arguments and same result.

    It can be handed to any module that takes a convolution function, such as
    `nnx.Conv(conv_general_dilated=...)`.

    Args:
        lhs: the input, rank ``n + 2``.
        rhs: the kernel, rank ``n + 2``.
        window_strides: ``n`` strides in pixels.
        padding: ``"SAME"``, ``"SAME_LOWER"``, ``"VALID"`` or ``n`` pairs ``(low, high)`` in pixels.
        lhs_dilation: ``n`` dilation factors of the input, 1 where absent.
        rhs_dilation: ``n`` dilation factors of the kernel, 1 where absent.
        dimension_numbers: the layouts of input, kernel and output; NCHW, OIHW, NCHW where absent.
        feature_group_count: the number of feature groups.
        batch_group_count: the number of batch groups.
        precision: the precision of the products, the backend's default where absent.
        preferred_element_type: the dtype to accumulate in and to return.
        out_sharding: the sharding of the result in explicit sharding mode.

    Returns:
        The convolved array, rank ``n + 2``, in the layout `dimension_numbers` gives.

    Raises:
        ValueError: whatever `jax.lax.conv_general_dilated` refuses.
    """
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
    )
