"""The image operations that AutoAugment, RandAugment and TrivialAugment draw from, with Pillow."""

import math
from collections.abc import Callable, Mapping
from typing import Any

DIRECTED = (
    *("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    *("Brightness", "Color", "Contrast", "Sharpness"),
)
"""The operations that have two directions: of either sign."""

UNDIRECTED = ("Identity", "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert")


def apply_operation(image: Any, name: str, magnitude: float) -> Any:
    """Return the image after an operation, as torchvision has it with bilinear interpolation.

    Args:
        image: a Pillow image in RGB.
        name: one of `DIRECTED` or `UNDIRECTED`.
        magnitude: in the operation's own unit: shear in pixels for each pixel, translation in
            pixels, rotation in degrees, enhancement as a factor beyond 1, the bits that posterize
            keeps, the value from which solarize inverts; the others have none.
    """
    from PIL import Image, ImageEnhance, ImageOps

    plain: Mapping[str, Callable[[], Any]] = {
        "Identity": lambda: image,
        "Posterize": lambda: ImageOps.posterize(image, int(magnitude)),
        "Solarize": lambda: ImageOps.solarize(image, math.ceil(magnitude)),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Invert": lambda: ImageOps.invert(image),
        "Rotate": lambda: image.rotate(magnitude, Image.Resampling.BILINEAR),
    }
    if name in plain:
        return plain[name]()
    matrix = {
        "ShearX": (1, magnitude, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, magnitude, 1, 0),
        "TranslateX": (1, 0, -int(magnitude), 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, -int(magnitude)),
    }.get(name)
    if matrix is None:
        return getattr(ImageEnhance, name)(image).enhance(1 + magnitude)
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return image.transform(image.size, affine, matrix, bilinear)
