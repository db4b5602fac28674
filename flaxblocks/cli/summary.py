"""``flaxblocks summary``: a network block by block."""

import argparse
from collections.abc import Sequence
from itertools import groupby
from math import prod
from typing import TYPE_CHECKING

from flaxblocks._base.command_line import positive, short, stdout

if TYPE_CHECKING:
    from rich.table import Table

    from flaxblocks.cli.block_rows import Row

BYTES = 4  # of a float32

DESCRIPTION = "Show a network's blocks with their outputs, parameters and cost."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("name", help="one of `flaxblocks models`")
    parser.add_argument(
        "--input-size", type=positive, metavar="PIXELS", help="default: the network's own"
    )
    parser.add_argument("--num-classes", type=positive, metavar="N", help="default: its source's")


def run(options: argparse.Namespace) -> None:
    """Print the table.

    Raises:
        ValueError: if the network is unknown, or the image too small for it.
    """
    from flax import nnx

    import flaxblocks as fb
    from flaxblocks.cli.block_rows import block_rows
    from flaxblocks.cli.networks import abstract_network, count

    network = abstract_network(options.name, options.num_classes)
    size = options.input_size or fb.create_preprocess(options.name).crop
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


def _table(rows: Sequence["Row"]) -> "Table":
    from rich import box
    from rich.table import Table

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
