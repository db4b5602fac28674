"""Mixup and CutMix: two images in one, and their two labels."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from flaxblocks._base import checks


@dataclass(frozen=True)
class Mixing:
    """How the images of a batch are mixed, each with the one before it.

    One share is drawn for the whole batch. Where both kinds are given, a coin decides for each
    batch.

    Args:
        mixup_alpha: Mixup's share is drawn from Beta(alpha, alpha); 0 for no Mixup.
        cutmix_alpha: CutMix's, likewise.

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

    def __call__(self, key: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mix the images of a batch.

        Args:
            key: a random key.
            image: of shape ``(n, h, w, c)``.

        Returns:
            The mixed images, of the same shape, and the share of each image that is its own, of
            shape ``()``; the rest comes from `before`.
        """
        of_kind, of_share, of_row, of_column = jax.random.split(key, 4)
        kinds = (self.mixup_alpha > 0) + (self.cutmix_alpha > 0)
        mixup = jax.random.bernoulli(of_kind, (self.mixup_alpha > 0) / kinds)
        alpha = jnp.where(mixup, self.mixup_alpha, self.cutmix_alpha).astype(image.dtype)
        share = jax.random.beta(of_share, alpha, alpha, dtype=image.dtype)
        side = jnp.sqrt(1 - share)
        rows = _inside(of_row, image.shape[1], side)
        columns = _inside(of_column, image.shape[2], side)
        box = rows[:, None] & columns
        own = jnp.where(mixup, share, ~box)[..., None]
        return image * own + before(image) * (1 - own), own.mean()


def before(rows: jax.Array) -> jax.Array:
    """Return the row before each row, and the last one for the first."""
    return jnp.roll(rows, 1, axis=0)


def _inside(key: jax.Array, size: int, side: jax.Array) -> jax.Array:
    """Return which of `size` pixels lie in a box about a random center; the edges cut it."""
    center = jax.random.randint(key, (), 0, size)
    reach = (side * size / 2).astype(jnp.int32)
    return (center - reach <= jnp.arange(size)) & (jnp.arange(size) < center + reach)
