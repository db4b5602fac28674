"""``flaxblocks models``: the networks in a table."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import flaxblocks as fb
from flaxblocks.cli.networks import abstract_network, cost, count, image_shape, short, stdout

DESCRIPTION = "List the networks with their size, cost, resolution and source."


@dataclass(frozen=True)
class Facts:
    """A row of the table.

    Args:
        name: what `create_model` calls the network.
        parameters: how many it has.
        multiply_adds: how many an image takes at the native resolution.
        resolution: height and width in pixels of what it was trained for.
        source: its paper.
    """

    name: str
    parameters: int
    multiply_adds: int
    resolution: int
    source: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "pattern",
        nargs="?",
        help="such as 'efficientnet*' or 'timm/resnet*' (default: all but timm's)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    """Print the table.

    Raises:
        ValueError: if the pattern matches no network.
    """
    names = _names(options.pattern)
    if not names:
        abstract_network(options.pattern)  # the name is unknown: it says so, and which are near
    rows = list(_rows(names))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        stdout().print(_table(rows))


def _names(pattern: str | None) -> list[str]:
    if pattern is not None:
        return fb.list_models(pattern)
    # To trace all of timm's takes minutes.
    return [name for name in fb.list_models() if not name.startswith("timm/")]


def facts(name: str) -> Facts:
    """Return what there is to say about a network."""
    network = abstract_network(name)
    resolution = fb.create_preprocess(name).crop
    return Facts(
        name=name,
        parameters=count(network),
        multiply_adds=cost(network, image_shape(network, resolution)),
        resolution=resolution,
        source=fb.model_info(name).paper,
    )


def _rows(names: Sequence[str]) -> Iterator[Facts]:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=name)
            yield facts(name)
            progress.advance(task)


def _table(rows: Sequence[Facts]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"{len(rows)} networks; multiply-adds, which papers call FLOPs, of one image",
    )
    table.add_column("name", no_wrap=True)
    for title in ("parameters", "multiply-adds", "resolution"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("source")
    for row in rows:
        table.add_row(
            Text(row.name),
            f"{row.parameters:,}",
            short(row.multiply_adds),
            str(row.resolution),
            Text(row.source),
        )
    return table
