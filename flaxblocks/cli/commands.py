"""The subcommands, and how bad input is answered."""

import argparse
import os
import sys
from collections.abc import Sequence

import flaxblocks
from flaxblocks._base.allocator import keep_freed_memory
from flaxblocks.cli import bench, classify, convert, evaluate, models, summary, train

SUBCOMMANDS = (models, summary, classify, convert, train, evaluate, bench)

SHOWN = 3  # of the many lines that an error about a whole state dict has


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: the command line's arguments. Where absent they are the process's own, which
            then keeps the memory that it frees.

    Returns:
        The exit status: 0, 2 for bad input, 130 where the user interrupts.
    """
    if arguments is None:
        keep_freed_memory()
    options = make_parser().parse_args(arguments)
    # The Hub's client warns of each attempt that fails, before the error that is answered here.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"flaxblocks: error: {_one_line(str(error))}", file=sys.stderr)
        return 2
    return 0


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


def _one_line(message: str) -> str:
    first, *others = (line.strip() for line in message.splitlines())
    if not others:
        return first
    more = [f"and {len(others) - SHOWN} more"] if len(others) > SHOWN else []
    return f"{first} {'; '.join(others[:SHOWN] + more)}"
