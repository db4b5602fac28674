"""JSON files that somebody else may have written."""

import json
from pathlib import Path
from typing import Any, cast

LARGEST = 1 << 28  # bytes; the index of a network of a million tensors has a third of it
LONGEST_NAME = 255  # letters that file systems take


def read_json(path: Path) -> Any:
    """Return what a file holds.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON in UTF-8, nests without end, or is larger than `LARGEST`.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has more than {LARGEST:,} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError(f"{path} nests without end") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def read_table(path: Path) -> dict[str, Any]:
    """Return the table that a file holds.

    Raises:
        OSError: see `read_json`.
        ValueError: see `read_json`, or if it holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no table, but a {type(content).__name__}")
    return cast(dict[str, Any], content)


def is_beside(name: str) -> bool:
    """Return whether a name that a file gives is that of a file in the same folder.

    One that cannot be printed, or that no file can have, is none: errors quote it.
    """
    return (
        name == Path(name).name
        and name not in ("", "..")
        and name.isprintable()
        and len(name) <= LONGEST_NAME
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
