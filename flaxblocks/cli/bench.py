"""``flaxblocks bench``: ``python -m flaxblocks.bench`` as a subcommand."""

import argparse

from flaxblocks.bench import command


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="time networks and blocks beside their rivals",
        description=command.DESCRIPTION,
    )
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
