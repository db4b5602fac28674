# pyright: reportUnknownMemberType=false
"""A kernel as an operation of a program: XLA's custom call that launches PTX."""

from functools import cache
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.ops.cuda.compiler import nvrtc

TARGET = "__gpu$xla.gpu.ptx"  # XLA's own; JAX has no public name for it
FIRST_JAX = (0, 11)  # whose XLA takes the attributes below


@cache
def can_launch() -> bool:
    """Return whether XLA can launch kernels on all GPUs here, and there is a compiler for them."""
    if jax.__version_info__[:2] < FIRST_JAX or nvrtc() is None:
        return False
    try:
        devices = cast("list[Any]", jax.local_devices(backend="cuda"))
    except RuntimeError:  # lowered on a machine without a GPU
        return False
    return all(float(device.compute_capability) >= 8 for device in devices)


def launch(
    name: str,
    ptx: str,
    operands: tuple[jax.Array, ...],
    result: jax.ShapeDtypeStruct,
    *,
    blocks: int,
    threads: int,
) -> jax.Array:
    """Return what a kernel writes to its last parameter.

    Args:
        name: the kernel's, in its PTX.
        ptx: its program.
        operands: what its other parameters point to.
        result: shape and dtype of what it writes, all of it.
        blocks: how many of them run.
        threads: in each.
    """
    call = jax.ffi.ffi_call(TARGET, result)
    one = np.int32(1)
    return call(
        *operands,
        name=name,
        kernel_type="ptx",
        kernel_data=ptx,
        grid_x=np.int32(blocks),
        grid_y=one,
        grid_z=one,
        block_x=np.int32(threads),
        block_y=one,
        block_z=one,
        shared_mem_bytes=np.int32(0),
        output_indices=np.array([len(operands)], np.int32),
    )


def numbers(*values: int) -> jax.Array:
    """Return numbers as an operand of a kernel, which takes arrays alone."""
    return jnp.array(values, jnp.int32)
