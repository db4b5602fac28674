"""RandAugment as timm has it: its own operations and magnitudes, each drawn and scattered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from flaxblocks._base import checks
from flaxblocks.preprocess.transform import MEAN

STRONGEST = 10  # the magnitude 1 of the operations
COLOR = tuple(round(255 * part) for part in MEAN)  # where an image moved away

ENHANCED = {"brightness", "color", "contrast", "sharpness"}
MOVED: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "rotate": (30.0, "degrees"),
        "shear_x": (0.3, "pixels for each pixel"),
        "shear_y": (0.3, "pixels for each pixel"),
        "translate_x": (0.45, "of the width"),
        "translate_y": (0.45, "of the height"),
    }
)
"""The operations that move pixels, how far at the greatest magnitude, and in what unit."""

OPERATIONS = (
    *("autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize_add"),
    *("color", "contrast", "brightness", "sharpness"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
)


@dataclass(frozen=True)
class TimmRandAugment:
    """A few of fifteen image operations, drawn at random: an `Operation`.

    timm's magnitudes are a tenth of the strongest each, those of the paper and of torchvision's
    `RandAugment` a thirtieth.

    Args:
        magnitude: mean magnitude, from 0 to 10.
        operations: how many are drawn.
        deviation: standard deviation of the magnitude.
        probability: how often one that was drawn is applied.
        increasing: whether every operation is stronger for greater magnitudes. Otherwise
            posterize, solarize and the enhancements have their first authors' scales.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument is out of range.

    Source: timm 1.0, `timm.data.auto_augment.rand_augment_transform`.
    """

    magnitude: float = 9.0
    operations: int = 2
    deviation: float = 0.0
    probability: float = 0.5
    increasing: bool = False

    def __post_init__(self):
        checks.positive_int("operations", self.operations)
        checks.at_least_0("deviation", self.deviation)
        checks.fraction("probability", self.probability)
        if not 0 <= self.magnitude <= STRONGEST:
            raise ValueError(
                f"`magnitude` must lie between 0 and {STRONGEST}, got {self.magnitude!r}"
            )

    @classmethod
    def named(cls, text: str) -> "TimmRandAugment | None":
        """Return what timm calls such as ``"rand-m7-n2-mstd0.5-inc1"``; None for another text."""
        kind, *parts = text.split("-")
        found = [re.fullmatch(r"(mstd|inc|m|n|p)(\d+(?:\.\d+)?)", part) for part in parts]
        values = {match[1]: float(match[2]) for match in found if match is not None}
        if kind != "rand" or "m" not in values or len(values) < len(parts):
            return None
        return cls(
            values["m"],
            int(values.get("n", 2)),
            values.get("mstd", 0.0),
            values.get("p", 0.5),
            bool(values.get("inc", 0)),
        )

    def __call__(self, image: Any, rng: np.random.Generator) -> Any:
        """Return the augmented Pillow image."""
        for index in map(int, rng.integers(len(OPERATIONS), size=self.operations)):
            if rng.random() >= self.probability:
                continue
            magnitude = rng.normal(self.magnitude, self.deviation) if self.deviation else None
            part = np.clip(self.magnitude if magnitude is None else magnitude, 0, STRONGEST)
            sign = -1 if rng.random() < 0.5 else 1
            method = ("bilinear", "bicubic")[rng.integers(2)]
            image = self.apply(image, OPERATIONS[index], float(part) / STRONGEST, sign, method)
        return image

    def apply(self, image: Any, name: str, part: float, sign: int, method: str) -> Any:
        """Return the image after one operation.

        Args:
            image: a Pillow image in RGB.
            name: one of `OPERATIONS`.
            part: of the strongest, from 0 to 1.
            sign: 1 or -1, for those that have a direction.
            method: how pixels are moved, ``"bilinear"`` or ``"bicubic"``.
        """
        if name in MOVED:
            return _moved(image, name, sign * part * MOVED[name][0], method)
        if name in ENHANCED:
            from PIL import ImageEnhance

            factor = max(0.1, 1 + sign * 0.9 * part) if self.increasing else 0.1 + 1.8 * part
            return getattr(ImageEnhance, name.capitalize())(image).enhance(factor)
        return _pointwise(image, name, part, self.increasing)


def _pointwise(image: Any, name: str, part: float, increasing: bool) -> Any:
    from PIL import ImageOps

    if name == "solarize_add":
        add = min(128, int(part * 110))
        return image.point([min(255, i + add) if i < 128 else i for i in range(256)] * 3)
    if name == "posterize":
        bits = int(part * 4)
        kept = 256 - 2 ** (8 - (4 - bits if increasing else bits))  # no bit at all: black
        return image.point([i & kept for i in range(256)] * 3)
    if name == "solarize":
        threshold = int(part * 256)
        return ImageOps.solarize(image, 256 - threshold if increasing else threshold)
    return getattr(ImageOps, name)(image)


def _moved(image: Any, name: str, amount: float, method: str) -> Any:
    from PIL import Image

    how = {"resample": Image.Resampling[method.upper()], "fillcolor": COLOR}
    if name == "rotate":
        return image.rotate(amount, **how)
    matrix = {
        "shear_x": (1, amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, amount, 1, 0),
        "translate_x": (1, 0, amount * image.width, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, amount * image.height),
    }[name]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, **how)
