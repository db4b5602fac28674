"""``flaxblocks parity``: ``python -m parity`` as a subcommand."""

import argparse

from parity import command


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the subcommand."""
    parser = subparsers.add_parser(
        "parity",
        help="check that modules are the same functions as PyTorch's",
        description=command.DESCRIPTION,
    )
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
