"""XLA's own convolution, in each of the three roles."""

import jax
from jax import lax

from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.roles import by_role


def convolve(
    x: jax.Array, kernel: jax.Array, geometry: Geometry, precision: lax.PrecisionLike
) -> jax.Array:
    """Return the convolution of NHWC with HWIO."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
        precision=precision,
    )


BY_ROLE = by_role(convolve)
