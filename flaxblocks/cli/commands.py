"""The subcommands, and how bad input is answered."""

import argparse
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import flaxblocks
from flaxblocks._base.allocator import keep_freed_memory
from flaxblocks._base.command_line import exit_status, option_names
from flaxblocks._base.programs import keep_compiled_programs

COMMANDS: Mapping[str, tuple[str, str]] = {
    "models": ("flaxblocks.cli.models", "list the networks, or the weights of one"),
    "summary": ("flaxblocks.cli.summary", "show a network block by block"),
    "classify": ("flaxblocks.cli.classify", "say what photographs show"),
    "convert": ("flaxblocks.cli.convert", "rewrite weights under another library's names"),
    "export": ("flaxblocks.cli.export", "write a network for another runtime, and check it"),
    "train": ("flaxblocks.cli.train", "train a network"),
    "evaluate": ("flaxblocks.cli.evaluate", "say how often a network is right"),
    "average": ("flaxblocks.cli.average", "average the weights of several runs"),
    "kernels": ("flaxblocks.cli.kernels", "say which native kernels are in use, or compile them"),
    "bench": ("flaxblocks.bench.command", "time networks and blocks beside their rivals"),
    "parity": ("parity.command", "check that modules are the same functions as PyTorch's"),
}
"""Each subcommand's module and its help.

A module has ``DESCRIPTION``, ``add_arguments`` and ``run``; its ``ARGUMENTS``, where it has them,
say by which of its options the library's arguments are given, where the names differ, and
``KEEPS_PROGRAMS`` that what it compiles is kept for the next time. It imports JAX when it is run,
not when its options are read.
"""


class CommandParser(argparse.ArgumentParser):
    """The parser of a subcommand, whose module is imported only where the command is given.

    Args:
        module: the module's name.
        **options: argparse's own.
    """

    def __init__(self, *, module: str, **options: Any):
        super().__init__(**options)
        self.module = module

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Add the command's arguments, then parse."""
        if self.get_default("command") is None:
            command = import_module(self.module)
            self.description = command.DESCRIPTION
            command.add_arguments(self)
            more: dict[str, str] = getattr(command, "ARGUMENTS", {})
            names = option_names(self) | more
            keeps = getattr(command, "KEEPS_PROGRAMS", False)
            self.set_defaults(command=command.run, option_names=names, keeps_programs=keeps)
        return super().parse_known_args(args, namespace)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        arguments: the command line's arguments. Where absent they are the process's own, which
            then keeps the memory that it frees, and for some commands the programs it compiles.

    Returns:
        The exit status: 0, 1 where modules or exported networks differ, 2 for bad input, 130 where
        the user interrupts, 143 where SIGTERM ended training.
    """
    options = make_parser().parse_args(arguments)
    if arguments is None:
        keep_freed_memory()
        if options.keeps_programs:
            keep_compiled_programs()
    # The Hub's client warns of each attempt that fails, before the error that is answered here.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    return exit_status("flaxblocks", lambda: options.command(options), options.option_names)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="flaxblocks",
        description="Convolutional networks in JAX, with PyTorch's weights.",
    )
    parser.add_argument(
        "--version", action="version", version=f"flaxblocks {flaxblocks.__version__}"
    )
    subparsers = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", parser_class=CommandParser
    )
    for name, (module, text) in COMMANDS.items():
        subparsers.add_parser(name, help=text, module=module)
    return parser
