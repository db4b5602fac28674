"""Which native kernels are called, and by default only where they were measured to be faster."""

from enum import Enum

from flaxblocks.ops.conv.geometry import Geometry
from flaxblocks.ops.native.targets import load_found


class Kernels(Enum):
    """The native kernels that may be called."""

    NONE = "none"
    FASTER = "those that are faster than what XLA makes"
    ALL = "all"

    def __bool__(self) -> bool:
        return self is not Kernels.NONE


def kernels_in(implementation: str) -> Kernels:
    """Return what may be called in one of `switch.IMPLEMENTATIONS`."""
    if implementation == "native":
        return Kernels.ALL
    if implementation == "default" and load_found() is not None:
        return Kernels.FASTER
    return Kernels.NONE


def is_called(
    kernels: Kernels, name: str, role: str, geometry: Geometry, inputs: int, outputs: int
) -> bool:
    """Return whether a kernel that fits is called.

    Args:
        kernels: those that may be.
        name: the kernel's.
        role: the array that it computes, see `primitive.ROLES`.
        geometry: of the convolution, in an inverted residual of the depthwise one.
        inputs: channels of a group that it reads.
        outputs: channels of a group that it writes.
    """
    return kernels is Kernels.ALL
