"""Random erasing: a rectangle of noise over the image."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flaxblocks._base import checks
from flaxblocks.preprocess.transform import MEAN, STD
from flaxblocks.train.data.augment import draw_rectangle


@dataclass(frozen=True)
class RandomErasing:
    """Noise, or the mean color, in place of a random rectangle: an `Operation`.

    Args:
        probability: how often a rectangle is erased.
        area: range of the rectangle's area, as fractions of the image's.
        aspect: range of width / height.
        noise: whether it is noise.

    Raises:
        ValueError: if `probability` does not lie between 0 and 1.

    Source: Zhong et al. 2017, Random Erasing, algorithm 1. The noise has the mean and deviation
    of ImageNet's pixels, and is standard normal once the image is normalized, as timm's is; the
    mean color is then 0, as torchvision's is.
    """

    probability: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect: tuple[float, float] = (0.3, 3.3)
    noise: bool = True

    def __post_init__(self):
        checks.fraction("probability", self.probability)

    def __call__(self, image: Any, rng: np.random.Generator) -> Any:
        """Return the Pillow image, or a changed copy."""
        from PIL import Image

        if rng.random() >= self.probability:
            return image
        width, height = draw_rectangle(image.width * image.height, self.area, self.aspect, rng)
        width, height = min(width, image.width), min(height, image.height)
        spread = STD if self.noise else (0.0, 0.0, 0.0)
        noise = rng.normal(MEAN, spread, (height, width, 3)).clip(0, 1)
        changed = image.copy()
        beside: int = image.width - width
        above: int = image.height - height
        left, top = int(rng.integers(beside + 1)), int(rng.integers(above + 1))
        changed.paste(Image.fromarray((255 * noise).round().astype(np.uint8)), (left, top))
        return changed
