"""RandAugment and AutoAugment: image operations drawn at random."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flaxblocks._base import checks
from flaxblocks.train.data.image_operations import DIRECTED, UNDIRECTED, apply_operation

STRONGEST = 30  # RandAugment's greatest magnitude
LEVELS = 9  # AutoAugment's

RANDOM = (*DIRECTED, *(name for name in UNDIRECTED if name != "Invert"))
"""The fourteen operations that RandAugment draws from."""

MOVED = 150 / 331  # of the width or height, by the strongest translation


def magnitude_of(name: str, strength: float, size: tuple[int, int]) -> float:
    """Return an operation's magnitude in its own unit, see `apply_operation`.

    Args:
        name: the operation's.
        strength: from 0 to 1.
        size: the image's width and height in pixels.

    Source: Cubuk et al. 2018, AutoAugment, table 6; torchvision's `AutoAugment`, whose weakest
    solarize inverts 255.
    """
    strongest = {
        "ShearX": 0.3,
        "ShearY": 0.3,
        "TranslateX": MOVED * size[0],
        "TranslateY": MOVED * size[1],
        "Rotate": 30.0,
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9),
    }
    if name == "Posterize":
        return 8 - round(4 * strength)
    if name == "Solarize":
        return 255 * (1 - strength)
    return strength * strongest.get(name, 0.0)


def _applied(image: Any, name: str, strength: float, rng: np.random.Generator) -> Any:
    """Return the image after an operation, in a random direction where there are two."""
    sign = -1 if name in DIRECTED and rng.random() < 0.5 else 1
    return apply_operation(image, name, sign * magnitude_of(name, strength, image.size))


@dataclass(frozen=True)
class RandAugment:
    """A few of fourteen image operations, drawn at random, all of one magnitude: an `Operation`.

    Args:
        operations: how many are applied.
        magnitude: from 0 to 30.

    Raises:
        TypeError: if `operations` is not an integer.
        ValueError: if an argument is out of range.

    Source: Cubuk et al. 2019, RandAugment, section 3; torchvision's `RandAugment`.
    """

    operations: int = 2
    magnitude: float = 9.0

    def __post_init__(self):
        checks.positive_int("operations", self.operations)
        if not 0 <= self.magnitude <= STRONGEST:
            raise ValueError(
                f"`magnitude` must lie between 0 and {STRONGEST}, got {self.magnitude!r}"
            )

    def __call__(self, image: Any, rng: np.random.Generator) -> Any:
        """Return the augmented Pillow image."""
        for index in map(int, rng.integers(len(RANDOM), size=self.operations)):
            image = _applied(image, RANDOM[index], self.magnitude / STRONGEST, rng)
        return image


IMAGENET: tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 0), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 0)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 0)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 0), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 0)),
    (("Equalize", 0.0, 0), ("Equalize", 0.8, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 0)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 0)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 0)),
    (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
    (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
)
"""Pairs of operations with their probabilities and levels.

Source: Cubuk et al. 2018, AutoAugment, table 9; torchvision's `AutoAugmentPolicy.IMAGENET`.
"""


def autoaugment(image: Any, rng: np.random.Generator) -> Any:
    """Return the Pillow image after one of ImageNet's 25 pairs of operations: an `Operation`."""
    for name, probability, level in IMAGENET[rng.integers(len(IMAGENET))]:
        if rng.random() < probability:
            image = _applied(image, name, level / LEVELS, rng)
    return image
