"""Mixup and CutMix: two images in one, and their two labels."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from flaxblocks.layers import checks


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
        choice, draw = jax.random.split(key)
        if not self.cutmix_alpha:
            own = _mixup(draw, self.mixup_alpha, image)
        elif not self.mixup_alpha:
            own = _cutmix(draw, self.cutmix_alpha, image)
        else:
            own = jnp.where(
                jax.random.bernoulli(choice),
                _mixup(draw, self.mixup_alpha, image),
                _cutmix(draw, self.cutmix_alpha, image),
            )
        return image * own + before(image) * (1 - own), own.mean()


def before(rows: jax.Array) -> jax.Array:
    """Return the row before each row, and the last one for the first."""
    return jnp.roll(rows, 1, axis=0)


def _mixup(key: jax.Array, alpha: float, image: jax.Array) -> jax.Array:
    """Return the share of each pixel that is its own, of shape ``(h, w, 1)``: the same for all."""
    share = jax.random.beta(key, alpha, alpha, dtype=image.dtype)
    return jnp.broadcast_to(share, (*image.shape[1:3], 1))


def _cutmix(key: jax.Array, alpha: float, image: jax.Array) -> jax.Array:
    """Return the share of each pixel that is its own: 0 in a box, 1 around it."""
    height, width = image.shape[1:3]
    of_share, of_row, of_column = jax.random.split(key, 3)
    side = jnp.sqrt(1 - jax.random.beta(of_share, alpha, alpha, dtype=image.dtype))
    rows = _inside(of_row, height, side)
    columns = _inside(of_column, width, side)
    return 1 - (rows[:, None] & columns)[..., None].astype(image.dtype)


def _inside(key: jax.Array, size: int, side: jax.Array) -> jax.Array:
    """Return which of `size` pixels lie in a box about a random centre; the edges cut it."""
    centre = jax.random.randint(key, (), 0, size)
    reach = (side * size / 2).astype(jnp.int32)
    return jnp.abs(jnp.arange(size) - centre + 0.5) < reach
