"""The switch: native kernels, forms that XLA compiles well, or JAX's own convolutions."""

from collections.abc import Generator
from contextlib import contextmanager

from flaxblocks._base.jax_internals import make_user_context
from flaxblocks.ops.native.targets import load

IMPLEMENTATIONS = ("default", "native", "xla", "lax")

# Part of jit's cache key: a function is traced once for each implementation that it is called in.
implementation = make_user_context("default")


@contextmanager
def convolution(name: str) -> Generator[None, None, None]:
    """Choose what convolutions traced inside run as; the innermost choice holds.

    ``"default"``: on CPU C++ kernels where they are there and were measured to be faster on such a
    processor (see ``ops/native/choice.py``), else as ``"xla"``.

    ``"xla"``: on CPU forms that XLA compiles well, on an NVIDIA GPU such forms and a kernel for
    depthwise convolutions, on other platforms XLA's own convolution.

    ``"native"``: a kernel wherever there is one, else as ``"xla"``. There are kernels, in float32
    and float64 on CPU, for depthwise convolutions, for groups of 4, 8, 16 or more channels, for
    dense convolutions other than 1x1 with a multiple of 32 channels (16 in float64), and for the
    gradients of all of them. In a model from `for_inference` a `ConvNormAct`, a sum of branches,
    and an inverted residual with 16 or more channels (8 in float64) are one kernel each. Programs
    for several devices and exported programs call none.

    ``"lax"``: `jax.lax.conv_general_dilated` unchanged, and `max_pool` as `jax.lax.reduce_window`,
    to compare with.

    The package comes with the kernels where a compiler built it. Where it did not, entering
    ``"native"`` for the first time compiles them with ``$CXX``, or else ``c++``, ``g++`` or
    ``clang++``, into ``$FLAXBLOCKS_CACHE``, or else ``flaxblocks`` in ``$XDG_CACHE_HOME`` or
    ``~/.cache``, where later processes find them. There are some for each level of x86-64
    processors, and the best that this one has are called; ``$FLAXBLOCKS_KERNELS`` names another,
    such as ``x86-64-v2``, or is ``off``.

    >>> with fb.ops.convolution("lax"):
    ...     y = fb.Conv(3, 8, 3, rngs=nnx.Rngs(0))(jnp.ones((1, 7, 7, 3)))

    Args:
        name: ``"default"``, ``"native"``, ``"xla"`` or ``"lax"``.

    Raises:
        ValueError: if it is something else.
        RuntimeError: if it is ``"native"``, there are no kernels, and there is no compiler, the
            compiler fails, or the folder cannot be written.
    """
    if name not in IMPLEMENTATIONS:
        raise ValueError(f"`name` must be 'default', 'native', 'xla' or 'lax', got {name!r}")
    if name == "native":
        load()
    with implementation(name):
        yield
