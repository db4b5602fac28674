"""Which native kernels are called, and by default only where they were measured to be faster."""

from enum import Enum

from flaxblocks.ops.native.targets import load_found


class Kernels(Enum):
    """The native kernels that may be called."""

    NONE = "none"
    FASTER = "those that are faster than what XLA makes"
    ALL = "all"

    def __bool__(self) -> bool:
        return self is not Kernels.NONE


ANY = range(1, 2**31)

EVERYWHERE: dict[str, range] = dict.fromkeys(
    (
        "narrow",
        "narrow_kernel",
        "dense",
        "dense_kernel",
        "pointwise",
        "inverted_residual",
        "squeeze_excite",
        "layer_norm",
        "batch_norm",
        "mean",
        "max_pool",
        "max_pool_gradient",
    ),
    ANY,
)

# By processor level and kernel: for how many inputs of a group it is faster than XLA's form.
FASTER: dict[str, dict[str, range]] = {
    # Of the suite's tasks on 2 cores, blocks and networks, inference and training, the fastest
    # calls take 0.26 to 0.97 of XLA's time.
    "x86-64-v4": EVERYWHERE,
    # Beside XLA's products, which its libraries make with AVX-512 where they find it, an MBConv
    # takes 0.69 of the time, EfficientNet-B0 0.8 to 0.9 and MobileNetV3 0.87; a ResNet-50 takes
    # 0.81 of PyTorch's with AVX2. Without the kernel of inverted residuals they take 1.0 to 1.28 as
    # long, without those of pools 1.03.
    "x86-64-v3": EVERYWHERE,
}


def kernels_in(implementation: str) -> Kernels:
    """Return what may be called in one of `switch.IMPLEMENTATIONS`."""
    if implementation == "native":
        return Kernels.ALL
    if implementation == "default" and load_found() is not None:
        return Kernels.FASTER
    return Kernels.NONE


def is_called(kernels: Kernels, name: str, inputs: int) -> bool:
    """Return whether a kernel that fits is called.

    Args:
        kernels: those that may be.
        name: the kernel's.
        inputs: channels of a group that it reads.
    """
    if kernels is not Kernels.FASTER:
        return bool(kernels)
    found = load_found()
    faster = {} if found is None else FASTER.get(found.level.name, {})
    return inputs in faster.get(name, ())
