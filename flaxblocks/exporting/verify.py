"""An exported model, run by its own runtime, beside the model in JAX."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from flax import nnx

from flaxblocks.exporting.artifact import Exported, load_exported
from flaxblocks.exporting.prepare import reference

BOUNDS = {  # of the largest difference, as a fraction of the largest value
    "float32": 1e-5,  # another order of adding up, in networks of up to 200 layers
    "float16": 2e-2,  # 11 bits of mantissa: 5e-4 in each layer
    "bfloat16": 1e-1,  # 8 bits: 4e-3 in each layer
}


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
    """

    runtime: str
    dtype: str
    images: int
    difference: float
    bound: float
    same_class: int

    @property
    def ok(self) -> bool:
        """Whether the difference is within its bound, NaN never."""
        return self.difference <= self.bound


def verify_exported(
    model: nnx.Module,
    path: str | os.PathLike[str],
    images: np.ndarray,
    *,
    format: str | None = None,
) -> Verification:
    """Run an exported model by its own runtime, and compare it with the model in JAX.

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
    expected = np.asarray(jax.jit(reference(model, exported.description))(images), np.float64)
    found = np.concatenate(list(_answers(exported, images))).astype(np.float64)[: len(images)]
    scale = np.abs(expected).max()
    return Verification(
        runtime=exported.runtime,
        dtype=exported.description.dtype,
        images=len(images),
        difference=float(np.abs(found - expected).max() / scale),
        bound=BOUNDS[exported.description.dtype],
        same_class=int(
            (found.argmax(-1) == expected.argmax(-1)).reshape(len(images), -1).all(1).sum()
        ),
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
