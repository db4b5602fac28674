# pyright: reportUnknownMemberType=false
"""StableHLO: a program of `jax.export` for CPU, GPU and TPU, with its description beside it."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
from jax import export as jax_export

from flaxblocks.exporting.description import Description
from flaxblocks.exporting.prepare import Prepared

PLATFORMS = ("cpu", "cuda", "tpu")
PROGRAM, DESCRIPTION = "program.jax_export", "description.json"


def write(prepared: Prepared, path: Path) -> None:
    """Write the program; each platform's own forms of convolutions are kept in it."""
    exported = jax_export.export(jax.jit(prepared.function), platforms=PLATFORMS)(prepared.images)
    with zipfile.ZipFile(path, "w") as file:
        # With the date that a `ZipInfo` has, so that equal models make equal files.
        file.writestr(zipfile.ZipInfo(DESCRIPTION), prepared.description.to_json())
        file.writestr(zipfile.ZipInfo(PROGRAM), exported.serialize())


@dataclass(frozen=True)
class Run:
    """Runs a program on JAX's default device.

    Args:
        program: as `jax.export` has it.
    """

    program: jax_export.Exported

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return what the program computes; it is compiled once for each shape."""
        return np.asarray(self._compiled(images))

    @cached_property
    def _compiled(self) -> Callable[[np.ndarray], jax.Array]:
        return jax.jit(self.program.call)


def read(path: Path) -> tuple[Description, Run]:
    """Return a program's description and its function.

    Raises:
        ValueError: if the file is something else.
    """
    try:
        with zipfile.ZipFile(path) as file:
            description = Description.from_json(file.read(DESCRIPTION))
            program = jax_export.deserialize(bytearray(file.read(PROGRAM)))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path} is damaged, or no exported StableHLO program") from error
    return description, Run(program)
