"""Whether native kernels are called: by default only on processors where they are faster."""

from flaxblocks.ops.native.targets import load_found

FASTER = frozenset(
    {
        # Of the suite's tasks on 2 cores, blocks and networks, inference and training, the fastest
        # calls take 0.26 to 0.97 of XLA's time.
        "x86-64-v4",
        # Beside XLA's products, which its libraries make with AVX-512 where they find it, an MBConv
        # takes 0.69 of the time, EfficientNet-B0 0.8 to 0.9 and MobileNetV3 0.87; a ResNet-50 takes
        # 0.81 of PyTorch's with AVX2. Without the kernel of inverted residuals they take 1.0 to
        # 1.28 as long, without those of pools 1.03.
        "x86-64-v3",
    }
)
"""The levels of processors on which the kernels are faster than what XLA makes."""


def kernels_in(implementation: str) -> bool:
    """Return whether kernels may be called in one of `switch.IMPLEMENTATIONS`."""
    if implementation == "default":
        found = load_found()
        return found is not None and found.level.name in FASTER
    return implementation == "native"
