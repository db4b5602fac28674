"""A network's parts with what they cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from flaxblocks.cli.networks import cost, count, image_shape
from flaxblocks.models import Backbone


@dataclass(frozen=True)
class Row:
    """A part of the network.

    Args:
        path: where it stands in the network.
        stride: pixels of the image per pixel of its output; None for the head.
        kind: its class.
        shape: shape of its output, without the batch.
        parameters: how many it has.
        multiply_adds: how many it takes.
    """

    path: str
    stride: int | None
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def block_rows(network: Backbone, size: int) -> Iterator[Row]:
    """Yield a row for each part of the network.

    Args:
        network: it may be abstract.
        size: height and width of the image in pixels.

    Raises:
        ValueError: if the image is too small for the network.
    """
    x = image_shape(network, size)
    for path, stride, part in _parts(network):
        y = nnx.eval_shape(lambda part, x: part(x), part, x)
        if 0 in y.shape:
            raise ValueError(f"`--input-size` {size} is too small: nothing is left after {path}")
        kind = type(part).__name__
        yield Row(path, stride, kind, y.shape[1:], count(part), cost(part, x))
        x = jax.ShapeDtypeStruct(y.shape, y.dtype)


def _parts(network: Backbone) -> Iterator[tuple[str, int | None, Any]]:
    """Yield the parts in data-flow order, with their paths and strides."""
    yield "stem", network.stem.stride, network.stem
    for number, (stage, info) in enumerate(zip(network.stages, network.feature_info, strict=True)):
        if stage.downsample is not None:
            yield f"stages.{number}.downsample", info.stride, stage.downsample
        for position, block in enumerate(stage.blocks):
            yield f"stages.{number}.blocks.{position}", info.stride, block
    yield "head", None, network.head
