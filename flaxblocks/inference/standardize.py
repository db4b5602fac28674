"""Standardized kernels computed once."""

from flax import nnx

from flaxblocks.layers.conv import Conv
from flaxblocks.layers.standardized_conv import StandardizedConv


def fold_standardization(model: nnx.Module) -> None:
    """Make each `StandardizedConv` a `Conv` with the kernel that it convolves by, in place."""
    for _, conv in list(nnx.iter_modules(model)):
        if isinstance(conv, StandardizedConv):
            kernel = conv.standardized()
            conv.kernel.set_value(kernel.astype(conv.kernel.get_value().dtype))
            for name in vars(conv).keys() & {"gain"}:
                setattr(conv, name, nnx.static(None))
            object.__setattr__(conv, "__class__", Conv)
