"""The subcommands, and how bad input is answered."""

import argparse
import os
from collections.abc import Sequence

import flaxblocks
from flaxblocks._base.allocator import keep_freed_memory
from flaxblocks._base.command_line import exit_status
from flaxblocks.cli import bench, classify, convert, evaluate, models, parity, summary, train

SUBCOMMANDS = (models, summary, classify, convert, train, evaluate, bench, parity)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: the command line's arguments. Where absent they are the process's own, which
            then keeps the memory that it frees.

    Returns:
        The exit status: 0, 1 where modules differ, 2 for bad input, 130 where the user interrupts.
    """
    if arguments is None:
        keep_freed_memory()
    options = make_parser().parse_args(arguments)
    # The Hub's client warns of each attempt that fails, before the error that is answered here.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    return exit_status("flaxblocks", lambda: options.run(options))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="flaxblocks",
        description="Convolutional networks in JAX, with PyTorch's weights.",
    )
    parser.add_argument(
        "--version", action="version", version=f"flaxblocks {flaxblocks.__version__}"
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subcommand in SUBCOMMANDS:
        subcommand.add_parser(subparsers)
    return parser
