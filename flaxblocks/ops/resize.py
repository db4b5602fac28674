"""Resizing of feature maps, with PyTorch's positions of the pixels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def bilinear_resize(x: Float[Array, "n h w c"], size: tuple[int, ...]) -> Float[Array, "n p q c"]:
    """Return the image at another size, interpolated between the nearest pixels of each axis.

    Pixels are squares: the corners of the two images coincide, not the centers of their outermost
    pixels. Nothing is averaged where the image shrinks.

    Args:
        x: input of shape ``(n, h, w, c)``.
        size: height and width of the output in pixels, `p` and `q`.

    Returns:
        Output of shape ``(n, p, q, c)``.

    Source: `torch.nn.functional.interpolate`, ``mode="bilinear", align_corners=False``.
    """
    wide = x.astype(np.promote_types(x.dtype, np.float32))
    for axis, pixels in enumerate(size, 1):
        wide = _interpolated(wide, pixels, axis)
    return wide.astype(x.dtype)


def nearest_resize(x: Float[Array, "n h w c"], size: tuple[int, ...]) -> Float[Array, "n p q c"]:
    """Return the image at another size, each pixel being that of the input that it begins in.

    Args:
        x: input of shape ``(n, h, w, c)``.
        size: height and width of the output in pixels, `p` and `q`.

    Returns:
        Output of shape ``(n, p, q, c)``.

    Source: `torch.nn.functional.interpolate`, ``mode="nearest"``.
    """
    for axis, pixels in enumerate(size, 1):
        held = x.shape[axis]
        if pixels % held == 0:
            x = jnp.repeat(x, pixels // held, axis)  # its derivative is a sum, not a scatter
        else:
            begins = np.arange(pixels, dtype=np.float32) * np.float32(held / pixels)
            x = _taken(x, np.minimum(begins.astype(int), held - 1), axis)
    return x


def _interpolated(x: jax.Array, pixels: int, axis: int) -> jax.Array:
    held = x.shape[axis]
    if pixels == held:
        return x
    place = np.maximum((np.arange(pixels) + 0.5) * held / pixels - 0.5, 0)
    before = place.astype(int)
    after = np.minimum(before + 1, held - 1)
    part = np.expand_dims(place - before, [a for a in range(x.ndim) if a != axis])
    part = part.astype(x.dtype)
    return _taken(x, before, axis) * (1 - part) + _taken(x, after, axis) * part


def _taken(x: jax.Array, places: np.ndarray, axis: int) -> jax.Array:
    return jnp.take(x, places, axis, mode="clip", indices_are_sorted=True)
