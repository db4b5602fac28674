"""``flaxblocks summary``: a network block by block."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

import jax
from flax import nnx
from rich import box
from rich.table import Table

import flaxblocks as fb
from flaxblocks.cli.networks import (
    abstract_network,
    cost,
    count,
    image_shape,
    positive,
    short,
    stdout,
)
from flaxblocks.models import Backbone

BYTES = 4  # of a float32

DESCRIPTION = "Show a network's blocks with their outputs, parameters and cost."


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("name", help="one of `flaxblocks models`")
    parser.add_argument(
        "--image-size", type=positive, metavar="PIXELS", help="default: the network's own"
    )
    parser.add_argument("--num-classes", type=positive, default=1000, metavar="N")


def run(options: argparse.Namespace) -> None:
    """Print the table.

    Raises:
        ValueError: if the network is unknown, or the image too small for it.
    """
    network = abstract_network(options.name, options.num_classes)
    size = options.image_size or fb.create_preprocess(options.name).crop
    rows = list(block_rows(network, size))
    console = stdout()
    console.print(_table(rows))
    megabytes = {
        "parameters": BYTES * count(network) / 1e6,
        "statistics": BYTES * count(network, nnx.BatchStat) / 1e6,
        "blocks' outputs for one image": BYTES * sum(prod(row.shape) for row in rows) / 1e6,
    }
    held = ", ".join(f"{value:.3g} MB of {name}" for name, value in megabytes.items())
    console.print(f"{options.name} at {size} x {size} pixels, in float32: {held}")


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
            raise ValueError(f"`--image-size` {size} is too small: nothing is left after {path}")
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


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    total = short(sum(row.multiply_adds for row in rows))
    table.add_column("part", "total", no_wrap=True)
    table.add_column("type", no_wrap=True)
    table.add_column("output", justify="right", no_wrap=True)
    table.add_column("stride", justify="right", no_wrap=True)
    parameters = f"{sum(row.parameters for row in rows):,}"
    table.add_column("parameters", parameters, justify="right", no_wrap=True)
    table.add_column("multiply-adds", total, justify="right", no_wrap=True)
    for _, stage in groupby(rows, key=lambda row: row.path.split(".")[:2]):
        for row in stage:
            table.add_row(
                row.path,
                row.kind,
                " x ".join(map(str, row.shape)),
                str(row.stride or ""),
                f"{row.parameters:,}",
                short(row.multiply_adds),
            )
        table.add_section()
    return table
