"""What an exported model says about itself, whatever its format."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flaxblocks.preprocess import Preprocess

KEY = "flaxblocks"
"""Where a format keeps named metadata, the description's name in it."""


@dataclass(frozen=True)
class Description:
    """What using an exported model takes.

    Args:
        name: the network, as `create_model` calls it; None for any other module.
        input_shape: of the images, ``(n, h, w, c)``: numbers, or expressions of the names of sizes
            that are known when it runs.
        least_size: least height and width in pixels, where they are open.
        size_step: they are multiples of it, where they are open.
        input_dtype: ``"float32"``, prepared by `preprocess`, or ``"uint8"``, resized and cropped
            only.
        output: ``"logits"``, or ``"probabilities"`` where the preprocessing is in the graph.
        dtype: what it computes in.
        preprocess: how images are prepared; None where nobody said.
        classes: the names of the outputs, in order; empty where nobody said.
        versions: of the packages that exported it.
    """

    name: str | None
    input_shape: tuple[int | str, ...]
    least_size: int
    size_step: int
    input_dtype: str
    output: str
    dtype: str
    preprocess: Preprocess | None
    classes: tuple[str, ...]
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    def check(self, images: np.ndarray) -> None:
        """Refuse images that are not as described.

        Raises:
            TypeError: if they have another dtype.
            ValueError: if they have another shape.
        """
        if images.dtype.name != self.input_dtype:
            raise TypeError(f"`images` must be {self.input_dtype}, got {images.dtype}")
        pairs = zip(images.shape, self.input_shape, strict=False)
        fixed = all(given == size for given, size in pairs if isinstance(size, int))
        if images.ndim != len(self.input_shape) or not fixed:
            shape = ", ".join(map(str, self.input_shape))
            raise ValueError(f"`images` must have shape ({shape}), got {images.shape}")
        sizes = images.shape[1:3] if self.size_step else ()
        if any(size < self.least_size or size % self.size_step for size in sizes):
            steps = f", in steps of {self.size_step}" if self.size_step > 1 else ""
            raise ValueError(
                f"`images` must have at least {self.least_size} pixels a side{steps}, got "
                f"{images.shape[1]} x {images.shape[2]}"
            )

    @classmethod
    def from_json(cls, text: str | bytes) -> "Description":
        """Read what `to_json` wrote.

        Raises:
            ValueError: if it is something else.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            given = content["preprocess"]
            if given is not None:
                colors = {name: tuple(given[name]) for name in ("mean", "std")}
                content["preprocess"] = Preprocess(**given | colors)
            content |= {name: tuple(content[name]) for name in ("input_shape", "classes")}
            return cls(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"no description of an exported model: {error}") from error
