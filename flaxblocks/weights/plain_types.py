"""What a checkpoint may hold beside its tensors: plain values, of which none runs anything."""

import argparse
import types
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes that a pickle of protocol 2 holds as text.

    Raises:
        ValueError: if they are encoded as no such pickle has them.
    """
    if encoding != "latin1":
        raise ValueError(f"`encoding` must be 'latin1', got {encoding!r}")
    return text.encode("latin1")


def _kind(*_: Any) -> None:
    """Stand for one of Python's own types, which a checkpoint names and does not call.

    Raises:
        ValueError: if it does.
    """
    raise ValueError("a pickle of plain values calls none of Python's types")


def _scalar(dtype: np.dtype, content: bytes) -> np.generic:
    """Return one of NumPy's scalars.

    Raises:
        ValueError: if it is not as long as its bytes.
    """
    if len(content) != dtype.itemsize:
        raise ValueError(f"a scalar of {dtype} must have {dtype.itemsize} bytes")
    return np.frombuffer(content, dtype)[0]


def _array(*_: Any) -> np.ndarray:
    """Return the empty array that gets a shape and values next."""
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _table(*_: Any) -> dict[Any, Any]:
    """Return what stands for a defaultdict, which would call something for what it has not."""
    return {}


def _row(*_: Any) -> list[Any]:
    """Return what stands for a deque."""
    return []


_KINDS = (
    argparse.Namespace,  # a training script's own options
    types.SimpleNamespace,
    date,
    datetime,
    timedelta,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(code)) for code in np.typecodes["All"]),
)
_FUNCTIONS = (
    *((_kind, f"builtins.{kind}") for kind in ("dict", "float", "int", "list", "str", "tuple")),
    (_encode, "_codecs.encode"),
    (_table, "collections.defaultdict"),
    (_row, "collections.deque"),
    *(
        (PurePosixPath, f"pathlib{part}.{kind}")
        for part in ("", "._local")
        for kind in ("PosixPath", "PurePosixPath")
    ),
    *(
        (PureWindowsPath, f"pathlib{part}.{kind}")
        for part in ("", "._local")
        for kind in ("WindowsPath", "PureWindowsPath")
    ),
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in ((_scalar, "scalar"), (_array, "_reconstruct"))
    ),
)

PLAIN: list[Any] = [*_KINDS, *_FUNCTIONS]
"""Types, and functions with the names that pickles have for them.

Some stand for what could be told to fill the memory. A path of any system becomes one without a
file system.
"""
