# pyright: basic
"""Reading, resizing and cropping images with Pillow, the one file that needs it."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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
    with readable(path), Image.open(path) as opened:
        return _rgb(opened)


@contextmanager
def readable(name: str) -> Generator[None, None, None]:
    """Say which image cannot be read, where the block finds one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read as an image.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"`images`: there is no file {name}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"`images` must be image files, and {name} is not one") from error
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"`images`: {name} cannot be read: {reason}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I"):
        raise ValueError(f"the range of its colors is unknown, Pillow's mode {image.mode!r}")
    if image.mode.startswith("I;16"):  # Pillow itself would clip all but the darkest to white
        image.load()
        upright = ImageOps.exif_transpose(image)
        values = np.asarray(upright)
        high_bytes = (values >> 8).astype(np.uint8)  # as it reads 16-bit colors
        high_bytes[values == image.info.get("transparency", -1)] = 255  # onto white, as below
        return Image.fromarray(high_bytes).convert("RGB")
    if is_turned(image):
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "RGB":
        image.load()
        return image  # not a copy, as convert makes
    return image.convert("RGB")


def is_turned(image: Image.Image) -> bool:
    """Return whether an Exif orientation says that the image is not upright as it is stored."""
    return image.getexif().get(ExifTags.Base.Orientation, 1) != 1


def from_bytes(array: np.ndarray, name: str) -> Image.Image:
    """Return an array of bytes as an image.

    Args:
        array: of shape ``(h, w)``, or ``(h, w, c)`` with 1, 3 or 4 channels.
        name: what it is called, for errors.

    Raises:
        TypeError: if it holds anything but bytes.
        ValueError: if it has another shape.
    """
    if array.dtype != np.uint8:
        raise TypeError(
            f"{name} must hold an image of bytes from 0 to 255 (uint8), got {array.dtype}"
        )
    flat = array[..., 0] if array.shape[2:] == (1,) else array
    if (flat.ndim != 2 and (flat.ndim != 3 or flat.shape[2] not in (3, 4))) or not flat.size:
        raise ValueError(
            f"{name} must hold an image of shape (h, w) or (h, w, c) with 1, 3 or 4 channels, got "
            f"{array.shape}"
        )
    return Image.fromarray(flat)


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


def center(image: Image.Image, size: int) -> Image.Image:
    """Return the central square.

    Source: torchvision 0.28, `torchvision.transforms.functional.center_crop` (the rounding).
    """
    left, top = (round((length - size) / 2) for length in image.size)
    return image.crop((left, top, left + size, top + size))


def pixels(image: Image.Image, channels: int) -> np.ndarray:
    """Return the bytes of an RGB image, of shape ``(h, w, channels)``: 3 for color, 1 for gray."""
    return np.asarray(image) if channels == 3 else np.asarray(image.convert("L"))[..., None]
