# pyright: reportUnknownMemberType=false
"""Which form a convolution takes on an NVIDIA GPU: a table of what was measured to be faster.

Milliseconds on an H100, batch 256, bfloat16, cuDNN's convolution beside the form, in the roles
output, input gradient, kernel gradient:

| | cuDNN | form |
|---|---|---|
| 7x7 stride 2 over 224x224x3, to 64 | 1.84, -, 1.19 | 0.93, -, 0.73 |
| 4x4 stride 4 over 224x224x3, to 96 | 0.46, -, 0.46 | 0.16, -, 0.17 |
| 3x3 stride 2 over 224x224x3, to 32 | 0.50, -, 0.57 | 0.50, -, 0.42 |
| 32 groups of 4, 3x3, 56x56 | 0.37, 0.37, 0.49 | 0.29, 0.29, 0.28 |
| 32 groups of 8, 3x3, 28x28 | 0.20, 0.20, 0.15 | 0.16, 0.16, - |
| 16 groups of 24, 3x3, 28x28 | 1.12, 1.12, 1.88 | 0.79, 0.78, 0.89 (as 8) |
| 3 groups of 24, 3x3, 56x56 | 0.84, 0.84, 0.70 | 0.43, 0.44, 0.51 |
| 3 groups of 24, 3x3 stride 2, 112x112 | 1.37, 3.60, 1.20 | 0.47, 0.79, 0.52 |
| 9 groups of 24, 3x3, 28x28 | 0.66, 0.66, 0.56 | 0.32, 0.33, 0.36 |
| 24 groups of 24, 3x3, 14x14 | 0.53, 0.53, 1.05 | 0.34, 0.35, 0.43 |
| 63 groups of 24, 3x3, 7x7 | 1.47, 1.50, 0.51 | 0.33, 0.34, 0.44 |
| 14 groups of 40, 3x3, 14x14 | 0.41, 0.49, 0.63 | 0.37, 0.37, 0.43 |
| float32: 7x7 stride 2 over 224x224x3, to 64 | 1.59, -, 1.99 | 0.99, -, 1.85 |
| float32: 32 groups of 4, 3x3, 56x56 | 0.60, 0.60, 2.03 | 0.55, 0.55, 1.69 |
| float32: 32 groups of 8, 3x3, 28x28 | -, -, 0.91 | -, -, 0.69 |
| float32: 16 groups of 24, 3x3, 28x28 | 1.43, 1.43, 1.69 | 1.14, 1.13, 1.65 |

Groups of 16, 32 and 56 gain nothing by being merged. A grouped 3x3 with its bias and ReLU, as one
operation of cuDNN's beside two:

| | one | two |
|---|---|---|
| 16 groups of 56, 14x14 | 1.46 | 0.59 |
| 9 groups of 48, 14x14 | 0.80 | 0.44 |
| 11 groups of 112, 14x14 | 1.99 | 0.85 |
| 7 groups of 80, 14x14 | 1.09 | 0.44 |
| 6 groups of 96, 14x14 | 1.02 | 0.40 |
| 24 groups of 24, 28x28 | 3.81 | 1.87 |
| 20 groups of 16, 14x14 | 0.17 | 0.21 |
| 4 groups of 64, 28x28 | 0.18 | 0.26 |
| float32: 16 groups of 56, 14x14 | 2.19 | 0.93 |

Depthwise convolutions, cuDNN's beside our kernel in ``ops.cuda``, in the same roles:

| | cuDNN | kernel |
|---|---|---|
| 3x3 over 112x112x32 | 0.20, 0.20, 0.28 | 0.18, 0.18, 0.21 |
| 3x3 over 56x56x144 | 0.24, 0.23, 0.28 | 0.20, 0.20, 0.23 |
| 3x3 over 14x14x480 | 0.066, 0.061, 0.087 | 0.073, 0.055, 0.062 |
| 3x3 stride 2 over 112x112x96 | 0.34, 0.95, 0.42 | 0.30, 0.29, 0.37 |
| 3x3 stride 2 over 28x28x240 | 0.071, 0.18, 0.094 | 0.063, 0.10, 0.060 |
| 5x5 over 28x28x240 | 0.21, 0.21, 0.19 | 0.15, 0.16, 0.14 |
| 5x5 over 14x14x672 | 0.16, 0.16, 0.19 | 0.12, 0.12, 0.10 |
| 5x5 over 7x7x1152 | 0.081, 0.083, 0.11 | 0.058, 0.058, 0.051 |
| 5x5 stride 2 over 56x56x144 | 0.23, 0.60, 0.22 | 0.18, 0.13, 0.16 |
| 7x7 over 56x56x96 | 0.58, 0.58, - | 0.38, 0.38, - |
| 7x7 over 28x28x192 | 0.34, 0.34, 0.22 | 0.19, 0.19, 0.20 |
| 7x7 over 14x14x384 | 0.19, 0.20, 0.17 | 0.11, 0.11, 0.12 |
| float32: 3x3 over 56x56x144 | 0.39, 0.38, 0.35 | 0.37, 0.38, 0.35 |
| float32: 3x3 stride 2 over 112x112x96 | 0.51, 1.53, 0.56 | 0.53, 0.58, 0.81 |
| float32: 5x5 over 28x28x240 | 0.35, 0.35, 0.34 | 0.24, 0.25, 0.24 |
| float32: 5x5 stride 2 over 56x56x144 | 0.31, 1.02, 0.49 | 0.30, 0.22, 0.34 |
| float32: 7x7 over 28x28x192 | 0.75, 0.75, 8.9 | 0.24, 0.25, 0.54 |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from flaxblocks.ops.conv import merged_groups, space_to_depth, xla
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.roles import Role
from flaxblocks.ops.cuda import depthwise

OUTPUT, INPUT, KERNEL = "output", "input", "kernel"
HALF = ("bfloat16", "float16")
MOST = (*HALF, "float32")


class Row(NamedTuple):
    """Undilated convolutions that another form than cuDNN's computes."""

    roles: tuple[str, ...]
    grouped: bool
    inputs: range  # channels of a group
    strides: range  # the larger of the two
    windows: range  # the larger of the two
    dtypes: tuple[str, ...]
    form: Callable[[str, Geometry, int], Role]  # of role, geometry and input channels of a group
    is_kernel: bool = False  # of our own, which not every program can call


def _in_blocks(role: str, geometry: Geometry, inputs: int) -> Role:
    return space_to_depth.BY_ROLE[role]


def _own(role: str, geometry: Geometry, inputs: int) -> Role:
    return depthwise.BY_ROLE[role]


def _merged_to(channels: int, at_most: int = 0) -> Callable[[str, Geometry, int], Role]:
    """Return the form whose groups have so many input channels.

    Where the groups cannot be shared out so, as many as can be had up to `at_most`, or `channels`.
    """

    def form(role: str, geometry: Geometry, inputs: int) -> Role:
        most = max(channels, at_most) // inputs
        counts = [n for n in range(1, most + 1) if geometry.groups % n == 0]
        wanted = channels // inputs
        return merged_groups.merging(wanted if wanted in counts else max(counts))[role]

    return form


ANY = range(1, 2**31)
STRIDED = range(2, 2**31)
ALL = (OUTPUT, INPUT, KERNEL)

ONE = range(1, 2)
SINGLE = ("float32",)
WINDOWS = range(2, 8)

TABLE = (
    Row(ALL, True, ONE, ANY, WINDOWS, HALF, _own, True),
    Row((INPUT,), True, ONE, ANY, WINDOWS, SINGLE, _own, True),
    Row((OUTPUT, KERNEL), True, ONE, ONE, WINDOWS, SINGLE, _own, True),
    Row((OUTPUT, KERNEL), True, ONE, STRIDED, range(5, 8), SINGLE, _own, True),
    Row((OUTPUT, KERNEL), False, range(1, 5), STRIDED, ANY, MOST, _in_blocks),
    Row(ALL, True, range(2, 5), ANY, ANY, MOST, _merged_to(32)),
    Row((OUTPUT, INPUT), True, range(8, 9), ANY, ANY, HALF, _merged_to(64)),
    Row((KERNEL,), True, range(8, 9), ANY, ANY, SINGLE, _merged_to(64)),
    Row(ALL, True, range(24, 25), ANY, ANY, MOST, _merged_to(96, at_most=216)),
    Row(ALL, True, range(40, 41), ANY, ANY, HALF, _merged_to(80)),
)
"""The first row that a convolution fits decides."""


def lower(
    first: jax.Array,
    second: jax.Array,
    *,
    role: str,
    geometry: Geometry,
    precision: jax.lax.PrecisionLike,
    kernels: bool,
) -> jax.Array:
    """Compute the array that `role` names from the other two, in the fastest form on a GPU.

    Precisions other than the default were not measured and use XLA's convolution.

    Args:
        first: the first of the other two in the order of `primitive.ROLES`.
        second: the second.
        role: which one is computed.
        geometry: the convolution's.
        precision: that of products, None for the default.
        kernels: whether the program can call kernels of our own.
    """
    form = form_of(first, second, role, geometry, kernels) if precision is None else None
    computed = (form or xla.BY_ROLE[role])(first, second, geometry, precision)
    if role == OUTPUT and _stands_alone(first.shape[3] // geometry.groups, geometry.groups):
        return jax.lax.optimization_barrier(computed)
    return computed


def _stands_alone(inputs: int, groups: int) -> bool:
    """Whether XLA is kept from making one operation of a convolution, its bias and its ReLU.

    cuDNN's takes twice as long and more where the channels of a group are no power of two.
    """
    return groups > 1 and inputs.bit_count() > 1


def form_of(
    first: jax.Array, second: jax.Array, role: str, geometry: Geometry, kernels: bool
) -> Role | None:
    """Return the form that the table names, None where it names none."""
    inputs = first.shape[2] if role == INPUT else first.shape[3] // geometry.groups
    for row in TABLE:
        if (
            role in row.roles
            and row.grouped == (geometry.groups > 1)
            and inputs in row.inputs
            and max(geometry.strides) in row.strides
            and max(geometry.window) in row.windows
            and max(geometry.dilation) == 1
            and first.dtype.name in row.dtypes
            and (not row.is_kernel or (kernels and depthwise.takes(first, second, role, geometry)))
        ):
            return row.form(role, geometry, inputs)
    return None
