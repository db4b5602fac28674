"""Reading, resizing and cropping images with Pillow, the one file that needs it."""

import os
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 1 << 27
"""Of a resized image: 400 MB, where the shorter side of an ordinary one is a few hundred pixels."""


def rgb(image: Any) -> Image.Image:
    """Return an image as a person sees it, upright, as 8-bit RGB.

    Args:
        image: a path or a Pillow image.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if it is neither a path nor an image.
        ValueError: if it cannot be read as an image, or has no known range of colors.
    """
    if isinstance(image, Image.Image):
        return _rgb(image)
    if not isinstance(image, str | os.PathLike):
        hint = "; PIL.Image.fromarray makes one" if isinstance(image, np.ndarray) else ""
        raise TypeError(f"`images` must be paths or Pillow images, got {type(image)}{hint}")
    path = os.fspath(image)
    try:
        with Image.open(path) as opened:
            return _rgb(opened)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"`images`: there is no file {path}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"`images` must be image files, and {path} is not one") from error
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"`images`: {path} cannot be read: {reason}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I"):
        raise ValueError(f"the range of its colors is unknown, Pillow's mode {image.mode!r}")
    if image.mode.startswith("I;16"):  # Pillow itself would clip all but the darkest to white
        image.load()
        upright = ImageOps.exif_transpose(image)
        high_bytes = (np.asarray(upright) >> 8).astype(np.uint8)  # as it reads 16-bit colors
        return Image.fromarray(high_bytes).convert("RGB")
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def resize(image: Image.Image, shorter: int, interpolation: str, squash: bool) -> Image.Image:
    """Return the image with a shorter side of this length, or both where it is squashed.

    Raises:
        ValueError: if the longer side becomes so long that there are too many pixels.

    Source: torchvision 0.28, `torchvision.transforms.functional.resize` (the rounding).
    """
    short, long = sorted(image.size)
    longer = shorter if squash else int(shorter * long / short)
    if shorter * longer > MOST_PIXELS:
        raise ValueError(
            f"`images` must not be so elongated: {image.width} x {image.height} pixels become "
            f"{longer} x {shorter}"
        )
    size = (shorter, longer) if image.width <= image.height else (longer, shorter)
    return image.resize(size, Image.Resampling[interpolation.upper()])


def center(image: Image.Image, size: int) -> np.ndarray:
    """Return the bytes of the central square, of shape ``(size, size, 3)``.

    Source: torchvision 0.28, `torchvision.transforms.functional.center_crop` (the rounding).
    """
    left, top = (round((length - size) / 2) for length in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))
