"""The image operations that AutoAugment and RandAugment draw from, with Pillow."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

ImageOperation = Callable[[Any, float], Any]
"""Takes a Pillow image and a magnitude, and returns an image."""


def _affine(image: Any, *coefficients: float) -> Any:
    from PIL import Image

    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


def _enhance(kind: str) -> ImageOperation:
    def operation(image: Any, magnitude: float) -> Any:
        from PIL import ImageEnhance

        return getattr(ImageEnhance, kind)(image).enhance(1 + 0.9 * magnitude)

    return operation


def _ops(name: str, argument: Callable[[float], float] | None = None) -> ImageOperation:
    def operation(image: Any, magnitude: float) -> Any:
        from PIL import ImageOps

        arguments = () if argument is None else (argument(magnitude),)
        return getattr(ImageOps, name)(image, *arguments)

    return operation


SIGNED: Mapping[str, ImageOperation] = MappingProxyType(
    {
        "shear_x": lambda image, m: _affine(image, 1, 0.3 * m, 0, 0, 1, 0),
        "shear_y": lambda image, m: _affine(image, 1, 0, 0, 0.3 * m, 1, 0),
        "translate_x": lambda image, m: _affine(image, 1, 0, 150 / 331 * image.width * m, 0, 1, 0),
        "translate_y": lambda image, m: _affine(image, 1, 0, 0, 0, 1, 150 / 331 * image.height * m),
        "rotate": lambda image, m: image.rotate(30 * m),
        "brightness": _enhance("Brightness"),
        "color": _enhance("Color"),
        "contrast": _enhance("Contrast"),
        "sharpness": _enhance("Sharpness"),
    }
)
"""Operations in either direction, with magnitudes from -1 to 1.

Source: Cubuk et al. 2018, AutoAugment, table 6.
"""

UNSIGNED: Mapping[str, ImageOperation] = MappingProxyType(
    {
        "identity": lambda image, m: image,
        "posterize": _ops("posterize", lambda m: 8 - round(4 * m)),
        "solarize": _ops("solarize", lambda m: 256 * (1 - m)),
        "autocontrast": _ops("autocontrast"),
        "equalize": _ops("equalize"),
        "invert": _ops("invert"),
    }
)
"""Operations in one direction, with magnitudes from 0 to 1; the source is that of `SIGNED`."""


def apply_operation(image: Any, name: str, magnitude: float, rng: Any) -> Any:
    """Return the image after an operation, in a random direction where there are two.

    Args:
        image: a Pillow image.
        name: a key of `SIGNED` or `UNSIGNED`.
        magnitude: from 0 to 1.
        rng: a numpy generator.
    """
    if name in UNSIGNED:
        return UNSIGNED[name](image, magnitude)
    return SIGNED[name](image, -magnitude if rng.random() < 0.5 else magnitude)
