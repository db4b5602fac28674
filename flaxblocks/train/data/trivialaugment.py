"""TrivialAugment: one image operation of a random magnitude."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from flaxblocks.train.data.image_operations import DIRECTED, apply_operation

BINS = 31  # magnitudes of each operation

_LINE = np.linspace(0, 1, BINS)
_NONE = np.zeros(1)

MAGNITUDES: Mapping[str, np.ndarray] = MappingProxyType(
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
        "Identity": _NONE,
        "Posterize": 8 - np.round(6 * _LINE),
        "Solarize": 255 * (1 - _LINE),
        "AutoContrast": _NONE,
        "Equalize": _NONE,
    }
)
"""Those that each operation has, one as likely as another."""

NAMES = tuple(MAGNITUDES)


def trivialaugment(image: Any, rng: np.random.Generator) -> Any:
    """Return the Pillow image after one of fourteen operations, of any strength: an `Operation`.

    Source: Müller and Hutter 2021, TrivialAugment, "wide"; torchvision's `TrivialAugmentWide`.
    """
    name = NAMES[rng.integers(len(NAMES))]
    sign = -1 if name in DIRECTED and rng.random() < 0.5 else 1
    return apply_operation(image, name, sign * float(rng.choice(MAGNITUDES[name])))
