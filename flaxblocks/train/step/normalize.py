"""What is done to a batch of images on the device, before the network sees it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Prepare = Callable[[jax.Array], jax.Array]


def as_float(image: jax.Array) -> jax.Array:
    """Return bytes as fractions of 255 in float32, and leave anything else as it is."""
    return image.astype(jnp.float32) / 255 if image.dtype == jnp.uint8 else image


def normalize(mean: tuple[float, ...], std: tuple[float, ...]) -> Prepare:
    """Return a function that subtracts each channel's mean and divides by its deviation.

    Bytes are fractions of 255 first, so that a batch can travel to the device as bytes.

    Args:
        mean: of each channel.
        std: the standard deviation of each channel.
    """

    def prepare(image: jax.Array) -> jax.Array:
        image = as_float(image)
        return (image - jnp.asarray(mean, image.dtype)) / jnp.asarray(std, image.dtype)

    return prepare
