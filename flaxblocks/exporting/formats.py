"""The formats by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flaxblocks._base.command_line import nearest
from flaxblocks.exporting import stablehlo
from flaxblocks.exporting.description import Description
from flaxblocks.exporting.prepare import Prepared

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """A kind of file, and what writes and runs it.

    Args:
        runtime: what runs it, for tables.
        suffixes: how its files are called.
        write: writes a prepared model.
        read: returns what a file says about itself, and its function of images.
        dtypes: what it can compute in.
        any_size: whether height and width may be left open.
    """

    runtime: str
    suffixes: tuple[str, ...]
    write: Callable[[Prepared, Path], None]
    read: Callable[[Path], tuple[Description, Run]]
    dtypes: tuple[str, ...]
    any_size: bool


FORMATS = {
    "stablehlo": Format(
        "jax.export",
        (".stablehlo",),
        stablehlo.write,
        stablehlo.read,
        ("float32", "float16", "bfloat16"),
        any_size=True,
    ),
}


def format_of(name: str | None, path: Path) -> Format:
    """Return a format by name, or that of a file by its suffix where no name is given.

    Raises:
        ValueError: if there is none; the message lists the nearest.
    """
    if name is not None:
        if name not in FORMATS:
            hint = nearest(name, list(FORMATS))
            raise ValueError(f"`format` must be one of {len(FORMATS)} formats, got {name!r}{hint}")
        return FORMATS[name]
    found = [format for format in FORMATS.values() if path.suffix in format.suffixes]
    if not found:
        endings = ", ".join(suffix for format in FORMATS.values() for suffix in format.suffixes)
        raise ValueError(f"`path` must end in {endings}, or `format` be given, got {path.name!r}")
    return found[0]
