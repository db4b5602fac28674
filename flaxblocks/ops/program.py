"""What a lowering may ask about the program that it is part of."""

from typing import Any, NamedTuple

from flaxblocks._base.jax_internals import is_exported, is_for_one_device
from flaxblocks.ops.native.choice import kernels_in


class Program(NamedTuple):
    """What kind of program is lowered.

    Args:
        kernels: whether it may call native kernels: not where it is split over devices or
            exported, where XLA can call none.
        one_device: whether it runs on one device.
    """

    kernels: bool
    one_device: bool


def program_of(module: Any, implementation: str) -> Program:
    """Return the kind of a program that is being lowered.

    Args:
        module: JAX's context of the lowering.
        implementation: what `switch.convolution` had chosen when it was traced.
    """
    kernels = may_call_kernels(module) and kernels_in(implementation)
    return Program(kernels, is_for_one_device(module))


def may_call_kernels(module: Any) -> bool:
    """Return whether XLA can call kernels in a program: it is for one device, and not exported.

    Args:
        module: JAX's context of the lowering.
    """
    return is_for_one_device(module) and not is_exported(module)
