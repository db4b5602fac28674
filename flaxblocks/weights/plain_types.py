"""What a checkpoint may hold beside its tensors: plain values, of which none runs anything."""

import argparse
import types
from datetime import date, datetime, timedelta
from importlib import import_module
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


def _table(*_: Any) -> dict[Any, Any]:
    """Return what stands for a defaultdict, which would call something for what it has not."""
    return {}


def _row(*_: Any) -> list[Any]:
    """Return what stands for a deque."""
    return []


_MULTIARRAY = import_module("numpy._core.multiarray")
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
    *((kind, f"builtins.{kind.__name__}") for kind in (dict, float, int, list, str, tuple)),
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
        (function, f"numpy.{core}.multiarray.{function.__name__}")
        for core in ("core", "_core")
        for function in (_MULTIARRAY.scalar, _MULTIARRAY._reconstruct)
    ),
)

PLAIN: list[Any] = [*_KINDS, *_FUNCTIONS]
"""Types, and functions with the names that pickles have for them.

NumPy's two rebuild its scalars and arrays; a path of any system becomes one without a file system.
"""
