"""Writing a file, or a folder, whole or not at all."""

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4


def temporary_path(path: Path) -> Path:
    """Return a hidden path beside another one, with its suffix, where nothing is."""
    return path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")


@contextmanager
def replacing(
    path: Path, place: Callable[[Path], Path] | None = None
) -> Generator[Path, None, None]:
    """Give a temporary path that takes the place of `path` when the block ends without an error.

    Until then, and after an error, what was at `path` stays as it was.

    Args:
        path: of the file.
        place: says of the finished file where it goes, where that may be another path.

    Raises:
        OSError: if the folder does not exist or cannot be written to, or the disk is full; it names
            `path`.
    """
    temporary = temporary_path(path)
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # the user's default; some writers make files private
        try:
            yield temporary
            temporary.chmod(mode)
            temporary.replace(path if place is None else place(temporary))
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _naming(path, temporary, error) from error


@contextmanager
def new_folder(path: Path) -> Generator[Path, None, None]:
    """Give a temporary folder that becomes `path` when the block ends without an error.

    Raises:
        FileExistsError: if there is something at `path`.
        OSError: if the folder cannot be made, or the disk is full.
    """
    if os.path.lexists(path):
        raise FileExistsError(f"cannot write {path}: it exists")
    temporary = temporary_path(path)
    try:
        temporary.mkdir(parents=True)
        try:
            yield temporary
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise _naming(path, temporary, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, see `replacing`.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_figure(figure: Any, path: Path) -> None:
    """Write matplotlib's figure in the format that the path's suffix says, see `replacing`.

    Args:
        figure: the figure.
        path: where to.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))


def _naming(path: Path, temporary: Path, error: OSError) -> OSError:
    """Return the system's error about a temporary file as one about `path`; others as they are."""
    about = (None, str(temporary), temporary)
    if error.errno is None or error.filename not in about or isinstance(error, ConnectionError):
        return error
    return type(error)(f"cannot write {path}: {error.strerror}")
