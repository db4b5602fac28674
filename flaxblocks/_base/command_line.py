"""What the commands share: exit statuses, errors in one line, options, and the table's width."""

import argparse
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

from rich.console import Console

from flaxblocks._base import checks

SHOWN = 3  # of the many lines that an error about a whole state dict has
WIDTH = 150  # of a table where the output is no terminal


def exit_status(program: str, run: Callable[[], int | None]) -> int:
    """Run a command, and say in one line what was wrong with its input.

    Returns:
        What the command returned, or else 0; 2 for bad input, 130 where the user interrupts.
    """
    try:
        return run() or 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"{program}: error: {_one_line(str(error))}", file=sys.stderr)
        return 2


def run_program(
    program: str,
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int | None],
    arguments: Sequence[str] | None,
) -> int:
    """Read a program's arguments, the process's own where absent, and run it as `exit_status`."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    return exit_status(program.rpartition(" ")[2], lambda: run(options))


def _one_line(message: str) -> str:
    first, *others = (line.strip() for line in message.splitlines())
    if not others:
        return first
    more = [f"and {len(others) - SHOWN} more"] if len(others) > SHOWN else []
    return f"{first} {'; '.join(others[:SHOWN] + more)}"


def own_arguments(subcommand: str) -> list[str]:
    """Return the process's arguments after the subcommand, where there is one."""
    given = sys.argv[1:]
    return given[1:] if given[:1] == [subcommand] else given


def stdout() -> Console:
    """Return the console for tables; wide where the output is no terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def positive(text: str) -> int:
    """Return an option's value as a positive integer; argparse prints the error.

    Raises:
        argparse.ArgumentTypeError: if it is not one.
    """
    try:
        return checks.positive_int("value", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}") from error


def check_writable(*paths: Path | None) -> None:
    """Refuse a path for results before the work that makes them.

    Raises:
        ValueError: if its folder does not exist.
    """
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"cannot write {path}: there is no folder {path.absolute().parent}")


def matching(patterns: Sequence[str], names: Sequence[str], option: str, kind: str) -> list[str]:
    """Return the names that the patterns match, each once, in the order of the patterns.

    Args:
        patterns: names, or shell-style patterns of names.
        names: to choose from.
        option: what the patterns were given by, for the error.
        kind: what the names are names of, for the error.

    Raises:
        ValueError: if a pattern matches nothing; it lists the nearest names.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = [name for name in names if fnmatchcase(name, pattern)]
        if not matches:
            raise ValueError(
                f"`{option}`: no {kind} is called {pattern!r}{nearest(pattern, names)}"
            )
        found |= dict.fromkeys(matches)
    return list(found)


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the end of an error message: the nearest names, or all where none is near."""
    near = get_close_matches(name, names, cutoff=0.4)
    return f"; the nearest are {', '.join(near)}" if near else f"; there are {', '.join(names)}"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
