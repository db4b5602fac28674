"""The formats by name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from flaxblocks._base.command_line import nearest
from flaxblocks.exporting.description import Description
from flaxblocks.exporting.prepare import Prepared

Run = Callable[[np.ndarray], np.ndarray]

HALF = ("float32", "float16", "bfloat16")
INT8 = "int8"
"""What a model of `quantize` computes in."""

LESS_THAN_2_GIB = 2**31 - 2**24
"""Bytes of weights in a message of protobuf or a flatbuffer, with room for the rest of it."""


@dataclass(frozen=True)
class Format:
    """A kind of file, and what writes and runs it.

    Args:
        runtime: what runs it, for tables.
        suffixes: how its files are called.
        module: has ``write`` and ``read``; it is imported where it is used.
        packages: what the module needs, for the error.
        dtypes: what it can compute in.
        any_size: whether height and width may be left open.
        most_weights: how many bytes of weights a file holds, None for any number.
    """

    runtime: str
    suffixes: tuple[str, ...]
    module: str
    packages: str
    dtypes: tuple[str, ...]
    any_size: bool = False
    most_weights: int | None = LESS_THAN_2_GIB

    def write(self, prepared: Prepared, path: Path) -> None:
        """Write a prepared model.

        Raises:
            ImportError: if a package is not installed.
            ValueError: if the format cannot express the model, when the message names the layer, or
                a file does not hold its weights.
        """
        size, most = prepared.weights, self.most_weights
        if most is not None and size > most:
            raise ValueError(
                f"`model` has {size / 1e9:.4g} GB of weights, and a file of {self.runtime} holds "
                f"{most / 1e9:.4g}: choose a shorter `dtype` or format 'torch'"
            )
        self._imported().write(prepared, path)

    def read(self, path: Path) -> tuple[Description, Run]:
        """Return what a file says about itself, and its function of images.

        Raises:
            ImportError: if a package is not installed.
            ValueError: if the file is damaged or something else.
        """
        return self._imported().read(path)

    def _imported(self):
        try:
            return import_module(f"flaxblocks.exporting.{self.module}")
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{self.runtime} needs {self.packages}: pip install 'flaxblocks[export]'"
            ) from error


FORMATS = {
    "stablehlo": Format(
        "jax.export", (".stablehlo",), "stablehlo", "JAX", (*HALF, INT8), any_size=True
    ),
    "onnx": Format(
        "ONNX Runtime",
        (".onnx",),
        "onnx.file",
        "onnx and onnxruntime",
        ("float32", "float16", INT8),
    ),
    "litert": Format(
        "LiteRT",
        (".tflite",),
        "litert",
        "ai-edge-litert and litert-converter",
        ("float32", INT8),
    ),
    "torch": Format("torch.export", (".pt2",), "torch_program", "torch", HALF, most_weights=None),
}


WEIGHTS_ALONE = (".pth", ".pt", ".safetensors", "state-dict")
"""What those ask for who want no program."""


def format_of(name: str | None, path: Path) -> Format:
    """Return a format by name, or that of a file by its suffix where no name is given.

    Raises:
        TypeError: if the name is no text.
        ValueError: if there is none; the message lists the nearest.
    """
    if name is not None:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"`format` must be the name of one, got {name!r}")
        if name not in FORMATS:
            hint = _hint(name) or nearest(name, list(FORMATS))
            raise ValueError(f"`format` must be one of {len(FORMATS)} formats, got {name!r}{hint}")
        return FORMATS[name]
    found = [format for format in FORMATS.values() if path.suffix in format.suffixes]
    if not found:
        endings = ", ".join(suffix for format in FORMATS.values() for suffix in format.suffixes)
        got = f"{path.name!r}{_hint(path.suffix)}"
        raise ValueError(f"`path` must end in {endings}, or `format` be given, got {got}")
    return found[0]


def _hint(kind: str) -> str:
    """Return what writes weights without a program, where that was asked for."""
    return "; `flaxblocks convert` writes weights alone" if kind in WEIGHTS_ALONE else ""
