# pyright: reportUnknownMemberType=false
"""An exported model, run by its own runtime, beside the model in JAX."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import cast

import jax
import numpy as np
from flax import nnx

from flaxblocks.exporting.artifact import Exported, load_exported
from flaxblocks.exporting.formats import INT8
from flaxblocks.exporting.prepare import reference
from flaxblocks.exporting.quantization.quantized import Quantized

BOUNDS = {  # of the largest difference, as a fraction of the largest value
    "float32": 1e-5,  # another order of adding up, in networks of up to 200 layers
    "float16": 2e-2,  # 11 bits of mantissa: 5e-4 in each layer
    "bfloat16": 1e-1,  # 8 bits: 4e-3 in each layer
    "int8": 1e-1,  # the same integers but where float32 rounds between two, some of 255 steps
}

LEAST_SAME = 0.9
"""Of a network's classes, those that must survive int8; one that is fit for it keeps 0.98."""


@dataclass(frozen=True)
class Verification:
    """What the comparison found; `verify_exported` returns it.

    Args:
        runtime: what ran the exported model.
        dtype: what it computed in.
        images: how many were compared.
        difference: the largest difference, as a fraction of the largest value.
        bound: what it may be.
        same_class: for how many images the largest output is the same one.
        least_same: for how many it must be.
    """

    runtime: str
    dtype: str
    images: int
    difference: float
    bound: float
    same_class: int
    least_same: int

    @property
    def ok(self) -> bool:
        """Whether difference and classes are within their bounds, NaN never."""
        return self.difference <= self.bound and self.same_class >= self.least_same


def verify_exported(
    model: nnx.Module,
    path: str | os.PathLike[str],
    images: np.ndarray,
    *,
    format: str | None = None,
) -> Verification:
    """Run an exported model by its own runtime, and compare it with the model in JAX.

    One in int8 is held to the model of `quantize` by the numbers and to have each class the same;
    to the trained model it was made of, to have 9 of 10 classes the same.

    >>> fb.verify_exported(model, "resnet18.onnx", preprocess(*photos)).ok  # doctest: +SKIP
    True

    Args:
        model: what was exported.
        path: what `export` wrote.
        images: as the exported model takes them, one or more.
        format: the file's format; by its suffix where absent.

    Raises:
        ValueError: if there are no images, or the exported model takes others.
    """
    if not len(images):
        raise ValueError("`images` must be one or more, got none")
    exported = load_exported(path, format=format)
    expected = cast(jax.Array, jax.jit(reference(model, exported.description))(images))
    lossy = exported.description.dtype == INT8 and not isinstance(model, Quantized)
    return compared(exported, np.asarray(expected), images, lossy=lossy)


def compared(
    exported: Exported, expected: np.ndarray, images: np.ndarray, *, lossy: bool = False
) -> Verification:
    """Run an exported model, and compare it with what a model in JAX computes of the images.

    Args:
        exported: the exported model.
        expected: what is computed in JAX.
        images: the images.
        lossy: whether the model in JAX is more precise than the exported one.
    """
    truth = expected.astype(np.float64)
    found = np.concatenate(list(_answers(exported, images))).astype(np.float64)[: len(images)]
    same = (found.argmax(-1) == truth.argmax(-1)).reshape(len(images), -1).all(1)
    dtype = exported.description.dtype
    least = LEAST_SAME if lossy else 1 if dtype == INT8 else 0
    return Verification(
        runtime=exported.runtime,
        dtype=dtype,
        images=len(images),
        difference=float(np.abs(found - truth).max() / np.abs(truth).max()),
        bound=np.inf if lossy else BOUNDS[dtype],
        same_class=int(same.sum()),
        least_same=ceil(least * len(images)),
    )


def _answers(exported: Exported, images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the results, a batch of the program's own size at a time, the last one filled up."""
    batch = exported.description.input_shape[0]
    if not isinstance(batch, int):
        yield exported(images)
        return
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        yield exported(np.concatenate([part, *[part[-1:]] * (batch - len(part))]))
