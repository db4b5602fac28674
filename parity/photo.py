"""A real photograph as the input of a block with any number of channels."""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, UnidentifiedImageError

SAMPLE = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
GOLDEN = 0.6180339887498949  # its multiples spread evenly over an interval, however many there are


def load_photo(path: str | Path | None = None) -> np.ndarray:
    """Return a photograph as ``(h, w, 3)`` bytes; matplotlib's sample portrait where none is named.

    Raises:
        ValueError: if the file cannot be read or is not an image.
    """
    try:
        with Image.open(SAMPLE if path is None else path) as image:
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"`image` must be an image file, and {path} is not one") from error
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"`image` must be a readable image file, got {path}: {reason}") from error


def photo_input(photo: np.ndarray, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return crops of the photograph as an input of shape ``(n, h, w, c)``.

    Each image takes as many crops as it needs to fill its channels, three colors from each. The
    photograph is first scaled so that a crop shows about a third of it.

    Args:
        photo: bytes of shape ``(height, width, 3)``.
        shape: the input's shape.

    Returns:
        Float32 numbers between -2 and 2.
    """
    n, h, w, c = shape
    scaled = _scaled(photo, h, w)
    per_image = -(-c // 3)
    crops = [_crop(scaled, h, w, i) for i in range(n * per_image)]
    images = [np.concatenate(crops[i * per_image :][:per_image], -1)[..., :c] for i in range(n)]
    return np.stack(images)


def _scaled(photo: np.ndarray, h: int, w: int) -> np.ndarray:
    factor = max(3 * h / photo.shape[0], 3 * w / photo.shape[1])
    size = (round(photo.shape[1] * factor), round(photo.shape[0] * factor))
    planes = [Image.fromarray(photo[..., i].astype(np.float32)) for i in range(3)]
    resized = [np.asarray(p.resize(size, Image.Resampling.BILINEAR)) for p in planes]
    return (np.stack(resized, -1) / 64 - 2).astype(np.float32)


def _crop(photo: np.ndarray, h: int, w: int, i: int) -> np.ndarray:
    top = int(i * GOLDEN % 1 * (photo.shape[0] - h + 1))
    left = int(i * GOLDEN**2 % 1 * (photo.shape[1] - w + 1))
    return photo[top : top + h, left : left + w]
