"""What a lowering may ask about the program that it is part of."""

from typing import Any, NamedTuple


class Program(NamedTuple):
    """What kind of program is lowered.

    Args:
        native: whether it may call native kernels: they were asked for, and it is neither split
            over devices nor exported, where XLA can call none.
        one_device: whether it runs on one device.
    """

    native: bool
    one_device: bool


def program_of(module: Any, *, native: bool) -> Program:
    """Return the kind of a program that is being lowered.

    Args:
        module: JAX's context of the lowering.
        native: whether native kernels were asked for when it was traced.
    """
    one_device = getattr(module.axis_context, "num_devices", None) == 1
    may_call = one_device and not module.lowering_parameters.for_export
    return Program(native and may_call, one_device)
