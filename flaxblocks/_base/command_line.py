"""What the commands share: exit statuses, errors in one line, options, and the table's width."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from flaxblocks._base import checks

if TYPE_CHECKING:
    from rich.console import Console

FAILURES = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    OSError,
    ImportError,
    RuntimeError,
    MemoryError,
)
"""What is said in one line: bad input, and a machine that has too little of something."""

SIGPIPE = 13  # its number; Windows has no such signal
SHOWN = 3  # of the many lines that an error about a whole state dict has
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
WIDTH = 150  # of a table where the output is no terminal


def exit_status(
    program: str, run: Callable[[], int | None], options: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Run a command, and say in one line what was wrong with its input.

    Args:
        program: its name.
        run: the command.
        options: what the command line calls the library's arguments: ``{"seed": "--seed"}``.

    Returns:
        What the command returned, or else 0; 2 for bad input or where memory, disk or a server
        fails, 130 where the user interrupts, 141 where nobody reads the output to its end.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file's name may hold what no terminal can print
            stream.reconfigure(errors="backslashreplace")
    try:
        status = run() or 0
        sys.stdout.flush()  # a full disk is found out here, not when the process ends
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 128 + SIGPIPE
    except FAILURES as error:
        say_error(program, error, options)
        if isinstance(error, OSError):
            _drop_output()
        return 2


def _drop_output() -> None:
    """Drop what the output's buffer still holds where it cannot be written: it was said already."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def say_error(
    program: str, error: BaseException, options: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Print an error to standard error in one line; see `exit_status` for the arguments."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    named = re.sub(r"`(\w+)`", lambda m: f"`{options.get(m[1], m[1])}`", text)
    print(f"{program}: error: {_one_line(named or type(error).__name__)}", file=sys.stderr)


def option_names(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return what the command line calls each of its options, by the name in the namespace."""
    return {
        action.dest: action.option_strings[-1]
        for action in parser._actions
        if action.option_strings
    }


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
    return exit_status(program.rpartition(" ")[2], lambda: run(options), option_names(parser))


def _one_line(message: str) -> str:
    first, *others = (line.strip() for line in message.splitlines())
    if not others:
        return first
    more = ["..."] if len(others) > SHOWN else []
    return f"{first} {'; '.join(others[:SHOWN] + more)}"


def own_arguments(subcommand: str) -> list[str]:
    """Return the process's arguments after the subcommand, where there is one."""
    given = sys.argv[1:]
    return given[1:] if given[:1] == [subcommand] else given


def stdout() -> "Console":
    """Return the console for tables; wide where the output is no terminal."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.on_broken_pipe = _nobody_reads  # Rich's own ends the process with 1: something differs
    return console


def _nobody_reads() -> None:
    raise BrokenPipeError


def short(number: int) -> str:
    """Return a number with four digits and a unit.

    >>> short(4_089_184_256)
    '4.089 G'
    """
    for unit, letter in UNITS:
        if number >= unit:
            return f"{number / unit:#.4g} {letter}"
    return str(number)


def positive(text: str) -> int:
    """Return an option's value as a positive integer; argparse prints the error.

    Raises:
        argparse.ArgumentTypeError: if it is not one.
    """
    return _integer(checks.positive_int, "a positive integer", text)


def natural(text: str) -> int:
    """Return an option's value as an integer of at least 0, as `positive` does.

    Raises:
        argparse.ArgumentTypeError: if it is not one.
    """
    return _integer(checks.natural_int, "an integer of at least 0", text)


def above_0(text: str) -> float:
    """Return an option's value as a finite number above 0, as `positive` does.

    Raises:
        argparse.ArgumentTypeError: if it is not one.
    """
    try:
        value = checks.at_least_0("value", float(text))
    except ValueError:
        value = 0.0
    if not value:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def _integer(check: Callable[[str, int], int], needed: str, text: str) -> int:
    try:
        return check("value", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be {needed}, got {text!r}") from error


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
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
