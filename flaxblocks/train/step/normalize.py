"""Preparing a batch on the device: bytes become floats, images are normalized."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from flaxblocks.train.step.state import Batch

Prepare = Callable[[Batch], Batch]
"""Runs on the batch inside the compiled step, before anything else."""


def as_float(batch: Batch) -> Batch:
    """Convert every array of bytes to float32 in [0, 1]; leave other arrays as they are."""

    def convert(leaf: Any) -> Any:
        return leaf.astype(jnp.float32) / 255 if leaf.dtype == jnp.uint8 else leaf

    return jax.tree.map(convert, batch)


def normalize(mean: tuple[float, ...], std: tuple[float, ...]) -> Prepare:
    """Return a function that normalizes ``batch["image"]``: ``(image - mean) / std``.

    Bytes are scaled to [0, 1] first, so that a batch can travel to the device as bytes.

    Args:
        mean: mean of each channel.
        std: standard deviation of each channel.
    """

    def prepare(batch: Batch) -> Batch:
        batch = as_float(batch)
        image = batch["image"]
        image = (image - jnp.asarray(mean, image.dtype)) / jnp.asarray(std, image.dtype)
        return {**batch, "image": image}

    return prepare
