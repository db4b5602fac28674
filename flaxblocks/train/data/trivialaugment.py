"""TrivialAugment: one image operation of a random magnitude."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

BINS = 31  # magnitudes of each operation

_LINE = np.linspace(0, 1, BINS)

SIGNED: Mapping[str, np.ndarray] = MappingProxyType(
    {
        "ShearX": 0.99 * _LINE,
        "ShearY": 0.99 * _LINE,
        "TranslateX": 32 * _LINE,
        "TranslateY": 32 * _LINE,
        "Rotate": 135 * _LINE,
        "Brightness": 0.99 * _LINE,
        "Color": 0.99 * _LINE,
        "Contrast": 0.99 * _LINE,
        "Sharpness": 0.99 * _LINE,
    }
)
"""The magnitudes of the operations that have two directions."""

UNSIGNED: Mapping[str, np.ndarray] = MappingProxyType(
    {
        "Identity": np.zeros(1),
        "Posterize": 8 - np.round(6 * _LINE),
        "Solarize": 255 * (1 - _LINE),
        "AutoContrast": np.zeros(1),
        "Equalize": np.zeros(1),
    }
)
"""The magnitudes of the others."""

NAMES = (*SIGNED, *UNSIGNED)


def trivialaugment(image: Any, rng: np.random.Generator) -> Any:
    """Return the Pillow image after one of fourteen operations, of any strength: an `Operation`.

    Source: Müller and Hutter 2021, TrivialAugment, "wide"; torchvision's `TrivialAugmentWide`.
    """
    name = NAMES[rng.integers(len(NAMES))]
    sign = -1 if name in SIGNED and rng.random() < 0.5 else 1
    magnitudes = SIGNED.get(name, UNSIGNED.get(name))
    assert magnitudes is not None
    return apply_operation(image, name, sign * float(rng.choice(magnitudes)))


def apply_operation(image: Any, name: str, magnitude: float) -> Any:
    """Return the image after an operation.

    Args:
        image: a Pillow image in RGB.
        name: a key of `SIGNED` or `UNSIGNED`.
        magnitude: in the operation's own unit.
    """
    from PIL import Image, ImageEnhance, ImageOps

    plain: Mapping[str, Callable[[], Any]] = {
        "Identity": lambda: image,
        "Posterize": lambda: ImageOps.posterize(image, int(magnitude)),
        "Solarize": lambda: ImageOps.solarize(image, math.ceil(magnitude)),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
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
