"""RandAugment and AutoAugment: image operations drawn at random."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flaxblocks._base import checks
from flaxblocks.train.data.image_operations import SIGNED, UNSIGNED, apply_operation

STRONGEST = 30  # RandAugment's greatest magnitude
LEVELS = 9  # AutoAugment's

RANDOM = (*SIGNED, *(name for name in UNSIGNED if name != "invert"))
"""The fourteen operations that RandAugment draws from."""


@dataclass(frozen=True)
class RandAugment:
    """A few of fourteen image operations, drawn at random, all of one magnitude: an `Operation`.

    Args:
        operations: how many are applied.
        magnitude: from 0 to 30.

    Raises:
        TypeError: if `operations` is not an integer.
        ValueError: if an argument is out of range.

    Source: Cubuk et al. 2019, RandAugment, section 3.
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
        for index in rng.integers(len(RANDOM), size=self.operations):
            image = apply_operation(image, RANDOM[index], self.magnitude / STRONGEST, rng)
        return image


IMAGENET: tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 0), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 0)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 0)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 0), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 0)),
    (("equalize", 0.0, 0), ("equalize", 0.8, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 0)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 0)),
    (("color", 0.4, 0), ("equalize", 0.6, 0)),
    (("equalize", 0.4, 0), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 0)),
    (("invert", 0.6, 0), ("equalize", 1.0, 0)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 0), ("equalize", 0.6, 0)),
)
"""Pairs of operations with their probabilities and levels.

Source: Cubuk et al. 2018, AutoAugment, table 9.
"""


def autoaugment(image: Any, rng: np.random.Generator) -> Any:
    """Return the Pillow image after one of ImageNet's 25 pairs of operations: an `Operation`."""
    for name, probability, level in IMAGENET[rng.integers(len(IMAGENET))]:
        if rng.random() < probability:
            image = apply_operation(image, name, level / LEVELS, rng)
    return image
