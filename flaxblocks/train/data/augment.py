"""Random crops, flips and color jitter of training images, with Pillow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flaxblocks._base import checks

Operation = Callable[[Any, np.random.Generator], Any]
"""Takes a Pillow image and returns one, of the same size or another."""

METHODS = ("bilinear", "bicubic")

Crop = Callable[[Any, int, np.random.Generator], Any]
"""Takes a Pillow image, in RGB or gray and perhaps not decoded yet, and returns a square one in
RGB whose side has that many pixels."""


def draw_rectangle(
    pixels: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Return the width and height of a random rectangle.

    Args:
        pixels: of the whole image.
        area: range of the rectangle's area, as fractions of the image's.
        aspect: range of width / height, which is drawn on a logarithmic scale.
        rng: random numbers.
    """
    part = pixels * rng.uniform(area[0], area[1])
    ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
    return round(math.sqrt(part * ratio)), round(math.sqrt(part / ratio))


@dataclass(frozen=True)
class RandomCrop:
    """A random part of the image, of random aspect ratio, resized to a square: a `Crop`.

    Args:
        area: range of the part's area, as fractions of the image's.
        aspect: range of width / height.
        interpolation: how Pillow resamples, ``"bilinear"``, ``"bicubic"``, or either at
            ``"random"``.

    Source: Szegedy et al. 2015, Going Deeper with Convolutions, section 6; the defaults are
    torchvision's, and so is the center crop where ten draws do not fit into the image.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def __call__(self, image: Any, size: int, rng: np.random.Generator) -> Any:
        """Return the part of a Pillow image."""
        from PIL import Image

        from flaxblocks.preprocess import partial

        method = self.interpolation
        if method == "random":
            method = METHODS[rng.integers(len(METHODS))]
        box = self._box(image.width, image.height, rng)
        return partial.resized(image, box, size, Image.Resampling[method.upper()])

    def _box(self, width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        for _ in range(10):
            w, h = draw_rectangle(width * height, self.area, self.aspect, rng)
            if 0 < w <= width and 0 < h <= height:
                left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
                return int(left), int(top), int(left) + w, int(top) + h
        w = min(width, round(height * self.aspect[1]))
        h = min(height, round(width / self.aspect[0]))
        left, top = (width - w) // 2, (height - h) // 2
        return left, top, left + w, top + h


CENTER_CROP = RandomCrop(area=(1.0, 1.0), aspect=(1.0, 1.0))
"""The largest square, at the center of the image."""


@dataclass(frozen=True)
class Flip:
    """The image, or its mirror image: an `Operation`.

    Args:
        probability: of the mirror image.

    Raises:
        ValueError: if `probability` does not lie between 0 and 1.
    """

    probability: float = 0.5

    def __post_init__(self):
        checks.fraction("probability", self.probability)

    def __call__(self, image: Any, rng: np.random.Generator) -> Any:
        """Return the Pillow image, mirrored or not."""
        from PIL import Image

        if rng.random() >= self.probability:
            return image
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


flip = Flip()
"""Every second image mirrored."""


@dataclass(frozen=True)
class ColorJitter:
    """Random changes of brightness, contrast, saturation and hue, in random order: an `Operation`.

    Args:
        brightness: the factor lies between ``1 - brightness`` and ``1 + brightness``.
        contrast: as `brightness`.
        saturation: as `brightness`.
        hue: largest shift of the hue, either way, as a fraction of the color circle; at most 0.5.

    Raises:
        ValueError: if an argument is out of range.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0

    def __post_init__(self):
        for name in ("brightness", "contrast", "saturation", "hue"):
            checks.fraction(name, getattr(self, name))
        if self.hue > 0.5:
            raise ValueError(f"`hue` must lie between 0 and 0.5, got {self.hue!r}")

    def __call__(self, image: Any, rng: np.random.Generator) -> Any:
        """Return the Pillow image in other colors."""
        from PIL import ImageEnhance

        kinds: Any = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        amounts = (self.brightness, self.contrast, self.saturation)
        factors = [rng.uniform(1 - amount, 1 + amount) for amount in amounts]
        shift = rng.uniform(-self.hue, self.hue)
        for index in rng.permutation(4):
            if index < 3:
                image = kinds[index](image).enhance(factors[index])
            elif self.hue:
                image = _shift_hue(image, shift)
        return image


@dataclass(frozen=True)
class Augment:
    """What training does to each image: a crop, then other operations.

    >>> augment = Augment(32, RandomCrop(), (flip, ColorJitter()))

    Args:
        size: height and width of the crop, in pixels.
        crop: comes first, so that the other operations have less to do.
        operations: in order.
        channels: of the result, 3 for color, 1 for gray.
    """

    size: int
    crop: Crop = CENTER_CROP
    operations: Sequence[Operation] = ()
    channels: int = 3

    def __call__(self, image: Any, rng: np.random.Generator) -> np.ndarray:
        """Return the augmented image as bytes, of shape ``(h, w, channels)``."""
        from flaxblocks.preprocess import partial, photo

        image = self.crop(partial.ready(image), self.size, rng)
        for operation in self.operations:
            image = operation(image, rng)
        return photo.pixels(image, self.channels)


def _shift_hue(image: Any, shift: float) -> Any:
    from PIL import Image

    hue, saturation, value = image.convert("HSV").split()
    # Bytes wrap around, as the color circle does.
    shifted = np.asarray(hue) + np.uint8(round(shift * 255) % 256)
    return Image.merge("HSV", (Image.fromarray(shifted), saturation, value)).convert("RGB")
