"""Mixup and CutMix: two images in one, with both their labels."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from flaxblocks._base import checks
from flaxblocks.train.step.state import Batch


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MixedLabel:
    """The two labels of each mixed image; it stands in the batch in place of ``label``.

    Args:
        own: labels of the images themselves, of shape ``(n,)`` or ``(n, classes)``.
        other: labels of the images mixed in, of the same shape.
        share: weight of `own`, of shape ``(n,)``.
    """

    own: Any
    other: Any
    share: Any


@dataclass(frozen=True)
class Mixing:
    """Mixes each image of a batch with the one before it.

    One share is drawn for the whole batch. With both kinds, each batch gets one of them at random.

    Args:
        mixup_alpha: Mixup's share is drawn from Beta(alpha, alpha); 0 turns Mixup off.
        cutmix_alpha: the same for CutMix.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if one is below 0, or both are 0.

    Source: Zhang et al. 2018 (Mixup), equation 1; Yun et al. 2019 (CutMix), equations 1 and 2;
        torchvision's classification reference.
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self):
        checks.at_least_0("mixup_alpha", self.mixup_alpha)
        checks.at_least_0("cutmix_alpha", self.cutmix_alpha)
        if not self.mixup_alpha and not self.cutmix_alpha:
            raise ValueError("`mixup_alpha` or `cutmix_alpha` must be above 0, got 0 for both")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """Mix the images of a batch.

        Args:
            key: a random key.
            batch: with ``image`` of shape ``(n, h, w, c)`` and ``label``; other entries are kept.

        Returns:
            The batch with mixed images, and a `MixedLabel` as ``label``.
        """
        image, label = batch["image"], batch["label"]
        mask = self._mask(key, image)
        share = jnp.full(image.shape[0], mask.mean())
        image = image * mask + _previous(image) * (1 - mask)
        return {**batch, "image": image, "label": MixedLabel(label, _previous(label), share)}

    def _mask(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """Return the weight of each pixel of the image itself, of shape ``(h, w, 1)``."""
        of_kind, of_share, of_row, of_column = jax.random.split(key, 4)
        kinds = (self.mixup_alpha > 0) + (self.cutmix_alpha > 0)
        mixup = jax.random.bernoulli(of_kind, (self.mixup_alpha > 0) / kinds)
        alpha = jnp.where(mixup, self.mixup_alpha, self.cutmix_alpha).astype(image.dtype)
        share = jax.random.beta(of_share, alpha, alpha, dtype=image.dtype)
        side = jnp.sqrt(1 - share)
        rows = _inside(of_row, image.shape[1], side)
        columns = _inside(of_column, image.shape[2], side)
        return jnp.where(mixup, share, ~(rows[:, None] & columns))[..., None]


def _previous(rows: jax.Array) -> jax.Array:
    """Return the row before each row, and the last one for the first."""
    return jnp.roll(rows, 1, axis=0)


def _inside(key: jax.Array, size: int, side: jax.Array) -> jax.Array:
    """Return which of `size` pixels lie in a box around a random center, cut at the edges."""
    center = jax.random.randint(key, (), 0, size)
    reach = (side * size / 2).astype(jnp.int32)
    return (center - reach <= jnp.arange(size)) & (jnp.arange(size) < center + reach)
