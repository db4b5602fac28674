"""``flaxblocks models``: the networks in a table, or one of them with its weights."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flaxblocks._base.command_line import short, stdout

if TYPE_CHECKING:
    from rich.table import Table

    from flaxblocks.models import ModelRecord

DESCRIPTION = (
    "List the networks with their size, cost, resolution and paper, or one of them with its "
    "published weights."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "pattern",
        nargs="?",
        default="*",
        metavar="NAME",
        help="a network, or a pattern such as 'efficientnet*' or 'timm/resnet*' (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    """Print the table or the record.

    Raises:
        ValueError: if the pattern matches no network.
    """
    import flaxblocks as fb

    names = fb.list_models(options.pattern) or [options.pattern]
    records = [fb.model_info(name) for name in names]  # an unknown one is told the nearest
    if options.json:
        print(json.dumps([_as_json(record) for record in records], indent=1))
    elif names == [options.pattern]:
        print(records[0])
    else:
        stdout().print(_table(records))


def _as_json(record: "ModelRecord") -> dict[str, Any]:
    """Return what a record holds but for the architecture, which is code."""
    facts = {name: value for name, value in vars(record).items() if name != "architecture"}
    return facts | {
        "preprocess": asdict(record.preprocess),
        "weights": [asdict(weights) for weights in record.weights],
    }


def _table(records: Sequence["ModelRecord"]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        caption=f"{len(records)} networks; multiply-adds, which papers call FLOPs, of one image; "
        "top-1 accuracy of the default weights on ImageNet, in percent",
    )
    table.add_column("name", no_wrap=True)
    for title in ("parameters", "multiply-adds", "resolution", "top-1"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("paper")
    for record in records:
        top1 = record.weights[0].top1 if record.weights else None
        table.add_row(
            Text(record.name),
            "" if record.parameters is None else f"{record.parameters:,}",
            "" if record.multiply_adds is None else short(record.multiply_adds),
            str(record.input_size),
            "" if top1 is None else f"{top1:.2f}",
            Text(record.paper),
        )
    return table
