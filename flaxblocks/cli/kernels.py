"""``flaxblocks kernels``: which native kernels are in use and why, and how more are made."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flaxblocks.ops.native.build import Library

DESCRIPTION = (
    "Say which native kernels convolutions on CPU are computed with and why, or compile those for "
    "this processor."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=("show", "build"),
        default="show",
        help="build: compile them into the cache, unless they are there (default: show)",
    )


def run(options: argparse.Namespace) -> None:
    """Print what is in use.

    Raises:
        RuntimeError: if they are to be compiled and there is no compiler, it fails, or the cache
            cannot be written.
        ValueError: if ``$FLAXBLOCKS_KERNELS`` names a level that the processor lacks.
    """
    from flaxblocks.ops.native import build, targets
    from flaxblocks.ops.native.compiling import levels, supported

    if options.action == "build":
        build.library()
    found = targets.load_found()
    if found is not None:
        print(f"in use: {found.level.name}, {_origin(found)}: {found.path}")
    else:
        print(f"in use: none, {_why(build.find())}")
    have = {level.name for level in supported()}
    for level in levels():
        has = "this processor has it" if level.name in have else "this processor lacks it"
        at = build.find_level(level)
        print(f"{level.name}: {has}, {'not compiled' if at is None else at.path}")


def _origin(found: "Library") -> str:
    from flaxblocks.ops.native.build import PACKAGE

    return "which came with the package" if found.path.parent == PACKAGE else "from the cache"


def _why(found: "Library | None") -> str:
    from flaxblocks.ops.native.build import usable
    from flaxblocks.ops.native.compiling import levels, supported

    if found is not None:
        return "those that are there cannot be loaded"
    if usable():
        return "the package came without them; `flaxblocks kernels build` compiles them"
    if supported():
        return "`$FLAXBLOCKS_KERNELS` is off"
    return (
        "this processor has none of the levels" if levels() else "there are none for this machine"
    )
