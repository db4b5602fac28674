# pyright: reportUnknownMemberType=false
"""Parallel convolutions made one."""

from functools import reduce
from operator import add
from typing import cast

import jax
import numpy as np
from flax import nnx

from flaxblocks.blocks.rep_conv import RepConv, unchanged
from flaxblocks.inference.by_numpy import by_numpy, namespace
from flaxblocks.inference.fold import Arrays, Weights, arrays_of, folded, set_weights
from flaxblocks.layers import ConvNormAct


def fold_branches(model: nnx.Module) -> None:
    """Make one convolution of each `RepConv`, in place.

    A convolution is linear in its kernel, so that a sum of several of one input is one, whose
    kernel is the sum of theirs, each first multiplied as its normalization asks. A 1x1 kernel
    stands in the middle of a wider one, and a 1x1 kernel of ones and zeros is the identity. Blocks
    with another normalization than a batch's stay as they are.

    Source: Ding et al. 2021, section 3.3.
    """
    for _, module in nnx.iter_modules(model):
        if isinstance(module, RepConv) and all(map(_folds, _parts(module))):
            _merge(module)


def _parts(block: RepConv) -> list[object]:
    """Return what stands in the block's branches and after their sum."""
    parts = [*block.convs, block.point, block.skip, block.final_norm]
    return [part for part in parts if part is not None]


def _folds(part: object) -> bool:
    if type(part) is ConvNormAct:
        norms = part.norm is None or isinstance(part.norm, nnx.BatchNorm)
        return norms and part.act is None and isinstance(part.conv, nnx.Conv)
    return part is unchanged or isinstance(part, nnx.BatchNorm)


def _merge(block: RepConv) -> None:
    units = [*block.convs, *([] if block.point is None else [cast(ConvNormAct, block.point)])]
    branches = [arrays_of(cast(nnx.Conv, unit.conv), unit.norm) for unit in units]
    if block.skip is not None:
        branches.append(arrays_of(None, block.skip))
    first = units[0]
    (weights,) = _sum([(branches, arrays_of(None, block.final_norm))])
    set_weights(cast(nnx.Conv, first.conv), *weights)
    first.norm = nnx.static(None)
    block.convs = nnx.List([first])
    block.point = block.skip = block.final_norm = nnx.static(None)
    if block.se is None:  # so that the convolution and the activation are one operation
        first.act, block.act = block.act, None


@by_numpy
def _sum(given: tuple[list[Arrays], Arrays]) -> Weights:
    """Return the kernel and the bias of the convolution that is the sum of branches, normalized."""
    branches, final = given
    widest = branches[0]["kernel"]
    identity = namespace(widest).asarray(_identity(widest.shape, widest.dtype))
    pairs = [folded({"kernel": identity} | branch) for branch in branches]
    sums = {
        "kernel": reduce(add, (_centered(kernel, widest.shape) for kernel, _ in pairs)),
        "bias": reduce(add, (bias for _, bias in pairs)),
    }
    kernel, bias = folded(sums | final)
    return kernel.astype(widest.dtype), bias.astype(widest.dtype)


def _identity(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return the 1x1 kernel that leaves an image as it is, in a kernel's groups."""
    width, features = shape[2:]
    kernel = np.zeros((1, 1, width, features), dtype)
    kernel[0, 0, np.arange(features) % width, np.arange(features)] = 1
    return kernel


def _centered(kernel: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return the kernel in the middle of one of this shape, zeros around it."""
    sides = [((wide - own) // 2,) * 2 for wide, own in zip(shape, kernel.shape, strict=True)]
    return namespace(kernel).pad(kernel, sides)
