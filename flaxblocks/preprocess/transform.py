"""The preprocessing of images."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from flaxblocks._base import checks

Color = tuple[float, ...]
"""A number for each of red, green and blue, or one for gray."""

MEAN: Color = (0.485, 0.456, 0.406)
STD: Color = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, red, green and blue, as fractions of white."""


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop the center, normalize: ``(pixels / 255 - mean) / std``.

    `create_preprocess` knows each network's own numbers.

    >>> preprocess = fb.Preprocess(resize=256, crop=224)
    >>> preprocess("photo.jpg").shape  # doctest: +SKIP
    (1, 224, 224, 3)

    Args:
        resize: what the image's shorter side becomes, in pixels; the proportions stay.
        crop: height and width of the center that is kept, in pixels.
        interpolation: how Pillow resamples.
        mean: of red, green and blue, as fractions of white; or of gray alone, for a network that
            takes gray images.
        std: their standard deviations.
        squash: whether both sides become `resize`, whatever the proportions.
        whole: whether all of the resized image is kept, as segmentation networks have it; `crop`
            then stands for the size of an image where none is at hand.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if an argument is out of range; the crop must fit into what was resized.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Color = MEAN
    std: Color = STD
    squash: bool = False
    whole: bool = False

    def __post_init__(self):
        checks.positive_int("resize", self.resize)
        if checks.positive_int("crop", self.crop) > self.resize:
            raise ValueError(f"`crop` must be at most `resize`, {self.resize}, got {self.crop}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"`interpolation` must be 'bilinear' or 'bicubic', got {self.interpolation!r}"
            )
        for name, color in (("mean", self.mean), ("std", self.std)):
            for value in color:
                checks.number(name, value, "be numbers")
        if len(self.mean) not in (1, 3):
            raise ValueError(f"`mean` must be three numbers, or one for gray, got {self.mean}")
        if len(self.std) != len(self.mean) or min(self.std) <= 0:
            raise ValueError(
                f"`std` must be as many numbers above 0 as `mean`, {len(self.mean)}, got {self.std}"
            )

    @property
    def channels(self) -> int:
        """3 for color, 1 for gray."""
        return len(self.mean)

    def in_gray(self) -> "Preprocess":
        """Return the same for gray images, the colors' numbers averaged as timm does."""
        mean, std = (sum(color) / len(color) for color in (self.mean, self.std))
        return replace(self, mean=(mean,), std=(std,))

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> "Preprocess":
        """Return what timm does for a checkpoint.

        Args:
            config: the checkpoint's `pretrained_cfg`, or the one in its `config.json`.

        Raises:
            ValueError: if it asks for what this class cannot do.

        Source: timm 1.0, `timm.data.transforms_factory.transforms_imagenet_eval`.
        """
        try:
            _, height, width = config["input_size"]
            interpolation, mean, std = (config[name] for name in ("interpolation", "mean", "std"))
            mean, std = tuple(mean), tuple(std)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "`config` must say input_size, interpolation, mean and std, as timm's does"
            ) from error
        mode = config.get("crop_mode") or "center"
        if height != width or mode not in ("center", "squash"):
            raise ValueError(
                "`config` must ask for a square image, cropped or squashed, got "
                f"{height} x {width} pixels and crop_mode {mode!r}"
            )
        return resized_for(
            height,
            checks.at_least_0("crop_pct", config.get("crop_pct") or 0.875),
            interpolation=interpolation,
            mean=mean,
            std=std,
            squash=mode == "squash",
        )

    def at_size(self, size: int) -> "Preprocess":
        """Return the same for a crop of `size` pixels, resized in proportion."""
        return replace(self, resize=round(size * self.resize / self.crop), crop=size)

    def __call__(self, *images: Any) -> Float[np.ndarray, "n h w c"]:
        """Prepare images.

        Of any kind Pillow reads: an Exif orientation is followed, transparency becomes white,
        every color space becomes RGB.

        Args:
            images: paths or Pillow images, one or more.

        Returns:
            Float32 array of shape ``(n, crop, crop, 3)``, of gray images ``(n, crop, crop, 1)``;
            of `whole` images as large as they are resized.

        Raises:
            FileNotFoundError: if there is no such file.
            ImportError: if Pillow is not installed.
            TypeError: if an image is neither.
            ValueError: if a file is not an image, or damaged, or the image is too large or too
                elongated; or there is none; or `whole` images differ in size.
        """
        mean, std = (np.asarray(color, np.float32) for color in (self.mean, self.std))
        return (self.pixels(*images).astype(np.float32) / np.float32(255) - mean) / std

    def pixels(self, *images: Any) -> UInt8[np.ndarray, "n h w c"]:
        """Resize and crop images, for a program that normalizes them itself.

        Args:
            images: as for a call.

        Returns:
            Bytes of shape ``(n, crop, crop, 3)``, of gray images ``(n, crop, crop, 1)``.

        Raises:
            Exception: what a call does.
        """
        try:
            from flaxblocks.preprocess import photo
        except ModuleNotFoundError as error:
            raise ImportError("images need Pillow (pip install 'flaxblocks[image]')") from error
        if not images:
            raise ValueError("`images` must be one or more, got none")

        def prepared(image: Any) -> np.ndarray:
            opened = photo.rgb(image)
            try:
                resized = photo.resize(opened, self.resize, self.interpolation, self.squash)
            except ValueError as error:
                path = f", {image}" if isinstance(image, str | os.PathLike) else ""
                raise ValueError(f"{error}{path}") from error
            kept = resized if self.whole else photo.center(resized, self.crop)
            return photo.pixels(kept, self.channels)

        arrays = [prepared(image) for image in images]
        sizes = sorted({array.shape[:2] for array in arrays})
        if len(sizes) > 1:
            raise ValueError(
                f"`images` must be of one size where all of each is kept, got {sizes}: "
                "prepare them one by one"
            )
        return np.stack(arrays)


def resized_for(
    crop: int,
    crop_pct: float,
    *,
    interpolation: Literal["bilinear", "bicubic"],
    mean: Color = MEAN,
    std: Color = STD,
    squash: bool = False,
) -> Preprocess:
    """Return the preprocessing whose crop is a given fraction of what the image is resized to.

    Args:
        crop: height and width of the center that is kept, in pixels.
        crop_pct: the fraction, which timm calls a percentage.
        interpolation: see `Preprocess`.
        mean: see `Preprocess`.
        std: see `Preprocess`.
        squash: see `Preprocess`.
    """
    checks.positive_int("crop", crop)
    return Preprocess(math.floor(crop / crop_pct), crop, interpolation, mean, std, squash)
