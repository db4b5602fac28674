# pyright: basic
"""A network's parts with what they cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from flaxblocks.cli.networks import cost, count, image_shape
from flaxblocks.models import Backbone, Segmenter


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

    def row(path: str, stride: int | None, part: Any, *inputs: jax.ShapeDtypeStruct) -> Row:
        y = nnx.eval_shape(lambda part, *inputs: part(*inputs), part, *inputs)
        if 0 in y.shape:
            raise ValueError(f"`--input-size` {size} is too small: nothing is left after {path}")
        kind = type(part).__name__
        return Row(path, stride, kind, y.shape[1:], count(part), cost(part, *inputs))

    x, maps = image_shape(network, size), []
    for number, parts in enumerate(_parts(network)):
        for path, stride, part in parts:
            found = row(path, stride, part, x)
            yield found
            x = jax.ShapeDtypeStruct((1, *found.shape), x.dtype)
        if number:
            maps.append(x)
    is_segmenter = isinstance(network, Segmenter)
    read = network.head_stages if is_segmenter else (-1,)
    yield row("head", None, network.head, *(maps[stage] for stage in read))
    if is_segmenter:
        for number, stage in enumerate(network.auxiliary_stages):
            yield row(f"auxiliary.{number}", None, network.auxiliary[number], maps[stage])


def _parts(network: Backbone) -> Iterator[list[tuple[str, int | None, Any]]]:
    """Yield the parts of the stem and of each stage, with their paths and strides."""
    yield [("stem", network.stem.stride, network.stem)]
    for number, (stage, info) in enumerate(zip(network.stages, network.feature_info, strict=True)):
        before = [] if stage.downsample is None else [("downsample", stage.downsample)]
        blocks = [(f"blocks.{place}", block) for place, block in enumerate(stage.blocks)]
        yield [(f"stages.{number}.{path}", info.stride, part) for path, part in [*before, *blocks]]
