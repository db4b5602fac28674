"""The changes that AutoAugment and RandAugment draw from, on Pillow images."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Change = Callable[[Any, float], Any]
"""Changes an image, as strongly as a number between -1 and 1 says."""


def _affine(image: Any, *coefficients: float) -> Any:
    from PIL import Image

    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


def _enhance(kind: str) -> Change:
    def change(image: Any, strength: float) -> Any:
        from PIL import ImageEnhance

        return getattr(ImageEnhance, kind)(image).enhance(1 + 0.9 * strength)

    return change


def _ops(name: str, argument: Callable[[float], float] | None = None) -> Change:
    def change(image: Any, strength: float) -> Any:
        from PIL import ImageOps

        arguments = () if argument is None else (argument(strength),)
        return getattr(ImageOps, name)(image, *arguments)

    return change


SIGNED: Mapping[str, Change] = MappingProxyType(
    {
        "shear_x": lambda image, strength: _affine(image, 1, 0.3 * strength, 0, 0, 1, 0),
        "shear_y": lambda image, strength: _affine(image, 1, 0, 0, 0.3 * strength, 1, 0),
        "translate_x": lambda image, strength: _affine(
            image, 1, 0, 150 / 331 * image.width * strength, 0, 1, 0
        ),
        "translate_y": lambda image, strength: _affine(
            image, 1, 0, 0, 0, 1, 150 / 331 * image.height * strength
        ),
        "rotate": lambda image, strength: image.rotate(30 * strength),
        "brightness": _enhance("Brightness"),
        "color": _enhance("Color"),
        "contrast": _enhance("Contrast"),
        "sharpness": _enhance("Sharpness"),
    }
)
"""Changes that go either way, by strengths from -1 to 1.

Source: Cubuk et al. 2018, AutoAugment, table 6.
"""

UNSIGNED: Mapping[str, Change] = MappingProxyType(
    {
        "identity": lambda image, strength: image,
        "posterize": _ops("posterize", lambda strength: 8 - round(4 * strength)),
        "solarize": _ops("solarize", lambda strength: 256 * (1 - strength)),
        "autocontrast": _ops("autocontrast"),
        "equalize": _ops("equalize"),
        "invert": _ops("invert"),
    }
)
"""Changes that go one way, by strengths from 0 to 1; source as for `SIGNED`."""


def change(image: Any, name: str, strength: float, rng: Any) -> Any:
    """Return the image after a change, which goes either way where it can.

    Args:
        image: a Pillow image.
        name: of the change.
        strength: from 0 to 1.
        rng: a numpy generator, for the way.
    """
    if name in UNSIGNED:
        return UNSIGNED[name](image, strength)
    return SIGNED[name](image, -strength if rng.random() < 0.5 else strength)
