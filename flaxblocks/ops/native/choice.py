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

# By processor level and kernel: for how many inputs of a group it is faster than XLA's form.
FASTER: dict[str, dict[str, range]] = {
    # Of the suite's 38 tasks on 2 cores, blocks and networks, inference and training, the fastest
    # calls take 0.26 to 0.97 of XLA's time (benchmarks/cpu-2026-11-25.json).
    "x86-64-v4": {
        "narrow": ANY,
        "narrow_kernel": ANY,
        "dense": ANY,
        "dense_kernel": ANY,
        "pointwise": ANY,
        "inverted_residual": ANY,
        "squeeze_excite": ANY,
        "layer_norm": ANY,
        "batch_norm": ANY,
        "mean": ANY,
        "max_pool": ANY,
        "max_pool_gradient": ANY,
    },
    # Processor time on one core without AVX-512, as a part of that of XLA, whose libraries multiply
    # matrices at the same speed there: depthwise and groups 0.4 to 0.7, their kernel's gradient 0.1
    # to 0.5, dense kernel's gradients 0.7 to 0.9; dense 3x3 0.7 with 64 inputs, 1.0 with 128, 1.2
    # with 256, and 2.2 with a stem's 3. Whole inverted residuals 1.0 to 1.3: their depthwise part
    # alone is called. On two cores gates take 0.5 to 1.0, layer normalizations 0.3 to 0.9. Pools
    # stay XLA's, whose threads are awake between its convolutions: ResNet-50 takes 1.05 with ours.
    # With batch normalization and a max-pool's gradient training steps take 0.75 to 0.95.
    "x86-64-v3": {
        "narrow": ANY,
        "narrow_kernel": ANY,
        "dense": range(16, 65),
        "dense_kernel": ANY,
        "squeeze_excite": ANY,
        "layer_norm": ANY,
        "batch_norm": ANY,
        "max_pool_gradient": ANY,
    },
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
