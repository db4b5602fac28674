"""The switches: every convolution to JAX's own, or to native kernels."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from flaxblocks.ops.native.targets import load

# Part of jit's cache key: a function that was traced with one setting is traced again in the other.
_plain = jax.make_user_context(False)
_native = jax.make_user_context(False)


@contextmanager
def plain_convolution() -> Iterator[None]:
    """Send every convolution that is traced inside to `jax.lax.conv_general_dilated` unchanged.

    A jitted function is compiled once with and once without, whichever comes first.

    >>> with fb.ops.plain_convolution():
    ...     y = fb.Conv(3, 8, 3, rngs=nnx.Rngs(0))(jnp.ones((1, 7, 7, 3)))
    """
    with _plain(True):
        yield


@contextmanager
def native_convolution() -> Iterator[None]:
    """Let convolutions that are traced inside use kernels compiled for this machine, on CPU.

    There are kernels for depthwise convolutions, for groups of 4, 8, 16 or more channels, for dense
    ones with a multiple of 32 channels (of 16 in float64) other than 1x1, and for the gradients of
    all of them. Without a normalisation, as `fold_batchnorm` leaves them, a `ConvNormAct`, a sum of
    branches, and an `MBConv` with 16 or more channels (8 in float64) are one kernel each, where
    activation and gate are this library's. All else, programs for several devices, exported
    programs and other platforms stay as they are.

    Entering it for the first time compiles the kernels with the machine's C++ compiler (``$CXX``,
    or else ``c++``, ``g++`` or ``clang++``) into ``$FLAXBLOCKS_CACHE``, or else ``flaxblocks`` in
    ``$XDG_CACHE_HOME`` or ``~/.cache``, where later processes find them. `plain_convolution` takes
    precedence.

    Raises:
        RuntimeError: if there is no compiler, it fails, or the folder cannot be written.
    """
    load()
    with _native(True):
        yield


def is_plain() -> bool:
    """Return whether a `plain_convolution` is around."""
    return _plain.value


def is_native() -> bool:
    """Return whether a `native_convolution` is around."""
    return _native.value
