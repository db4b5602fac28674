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
| 16 groups of 24, 3x3, 28x28 | 1.12, 1.12, 1.88 | 0.79, 0.78, 0.89 |
| 14 groups of 40, 3x3, 14x14 | 0.41, 0.49, 0.63 | 0.37, 0.37, 0.43 |
| float32: 7x7 stride 2 over 224x224x3, to 64 | 1.59, -, 1.99 | 0.99, -, 1.85 |
| float32: 32 groups of 4, 3x3, 56x56 | 0.60, 0.60, 2.03 | 0.55, 0.55, 1.69 |
| float32: 32 groups of 8, 3x3, 28x28 | -, -, 0.91 | -, -, 0.69 |
| float32: 16 groups of 24, 3x3, 28x28 | 1.43, 1.43, 1.69 | 1.14, 1.13, 1.65 |

Groups of 16, 32 and 56 gain nothing by being merged. The input gradient of a strided depthwise
convolution by phases, accumulated in float32, takes 1.00 in place of 0.95 at 112x112x96.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from flaxblocks.ops.conv import merged_groups, space_to_depth, xla
from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.conv.roles import Role

OUTPUT, INPUT, KERNEL = "output", "input", "kernel"
HALF = ("bfloat16", "float16")
MOST = (*HALF, "float32")


class Row(NamedTuple):
    """Undilated convolutions that another form than cuDNN's computes."""

    roles: tuple[str, ...]
    grouped: bool
    inputs: range  # channels of a group
    strides: range  # the larger of the two
    dtypes: tuple[str, ...]
    form: Callable[[str, Geometry, int], Role]  # of role, geometry and input channels of a group


def _in_blocks(role: str, geometry: Geometry, inputs: int) -> Role:
    return space_to_depth.BY_ROLE[role]


def _merged_to(channels: int) -> Callable[[str, Geometry, int], Role]:
    """Return the form whose groups have up to so many input channels."""

    def form(role: str, geometry: Geometry, inputs: int) -> Role:
        most = channels // inputs
        count = max(n for n in range(1, most + 1) if geometry.groups % n == 0)
        return merged_groups.merging(count)[role]

    return form


ANY = range(1, 2**31)
STRIDED = range(2, 2**31)
ALL = (OUTPUT, INPUT, KERNEL)

TABLE = (
    Row((OUTPUT, KERNEL), False, range(1, 5), STRIDED, MOST, _in_blocks),
    Row(ALL, True, range(2, 5), ANY, MOST, _merged_to(32)),
    Row((OUTPUT, INPUT), True, range(8, 9), ANY, HALF, _merged_to(64)),
    Row((KERNEL,), True, range(8, 9), ANY, ("float32",), _merged_to(64)),
    Row(ALL, True, range(24, 25), ANY, MOST, _merged_to(48)),
    Row(ALL, True, range(40, 41), ANY, HALF, _merged_to(80)),
)
"""The first row that a convolution fits decides."""


def lower(
    first: jax.Array, second: jax.Array, *, role: str, geometry: Geometry, precision, native: bool
) -> jax.Array:
    """Compute the array that `role` names from the other two, in the fastest form on a GPU.

    What is asked for in another precision than the default one was not measured and stays as it is.
    """
    form = form_of(first, role, geometry) if precision is None else None
    return (form or xla.BY_ROLE[role])(first, second, geometry, precision)


def form_of(first: jax.Array, role: str, geometry: Geometry) -> Role | None:
    """Return the form that the table names, None where it names none."""
    inputs = first.shape[2] if role == INPUT else first.shape[3] // geometry.groups
    for row in TABLE:
        if (
            role in row.roles
            and row.grouped == (geometry.groups > 1)
            and inputs in row.inputs
            and max(geometry.strides) in row.strides
            and max(geometry.dilation) == 1
            and first.dtype.name in row.dtypes
        ):
            return row.form(role, geometry, inputs)
    return None
