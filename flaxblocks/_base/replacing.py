"""Writing a file, or a folder, whole or not at all."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Give a temporary path that takes the place of `path` when the block ends without an error.

    Until then, and after an error, what was at `path` stays as it was.

    Raises:
        OSError: if the folder does not exist or cannot be written to, or the disk is full; it names
            `path`.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # the user's default; some writers make files private
        try:
            yield temporary
            temporary.chmod(mode)
            temporary.replace(path)
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
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
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
