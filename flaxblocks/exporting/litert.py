"""LiteRT: a ``.tflite`` file, converted from StableHLO, run by LiteRT's interpreter on CPU.

The description is a zip archive behind the flatbuffer, which is where TFLite has associated files;
the interpreter does not read that far.
"""

import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from flaxblocks._base.optional import required
from flaxblocks.exporting.description import Description
from flaxblocks.exporting.prepare import Prepared
from flaxblocks.ops.switch import convolution

SIGNATURE, IMAGES = "serving_default", "images"
DESCRIPTION = "flaxblocks.json"
NEEDED = "LiteRT needs", "'flaxblocks[litert]'"
MAGIC = slice(4, 8), b"TFL3"


def write(prepared: Prepared, path: Path) -> None:
    """Convert the program, with convolutions as `jax.lax` has them, and write it.

    Raises:
        ValueError: if the converter refuses it.
    """
    with convolution("lax"):
        exported = jax_export.export(jax.jit(prepared.function))(prepared.images)
    output = prepared.description.output
    path.write_bytes(_converted(exported.mlir_module(), output))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(zipfile.ZipInfo(DESCRIPTION), prepared.description.to_json())


def _converted(program: str, output: str) -> bytes:
    """Return a StableHLO program as TFLite's flatbuffer."""
    ir, passmanager, converter = (
        required(f"litert_converter.mlir.{name}", "litert-converter", *NEEDED)
        for name in ("ir", "passmanager", "_mlir_libs.converter_api_ext")
    )
    context = ir.Context()
    converter.prepare_mlir_context(context)
    with context:
        module = ir.Module.parse(program)
        functions = {op.attributes["sym_name"].value: op for op in module.body.operations}
        converter.set_signature(functions["main"], SIGNATURE, [IMAGES], [output])
        config = converter.ConvertToTFLConfig()
        # Else a batch of any size has its biases broadcast by operations of their own.
        config.unsafe_fuse_dynamic_shaped_broadcast = True
        try:
            converter.run_convert_to_tfl_passes(module, passmanager.PassManager(), config)
        except ir.MLIRError as error:
            raise ValueError(f"`model` cannot be exported to LiteRT: {error}") from error
        return converter.export_flatbuffer_to_bytes(module.operation)


def read(path: Path) -> tuple[Description, "Run"]:
    """Return a model's description and its function.

    Raises:
        ValueError: if the file is something else.
    """
    interpreter = required("ai_edge_litert.interpreter", "ai-edge-litert", *NEEDED)
    content = path.read_bytes()
    try:
        where, magic = MAGIC
        if content[where] != magic:
            raise ValueError("it is no flatbuffer")
        with zipfile.ZipFile(path) as file:
            description = Description.from_json(file.read(DESCRIPTION))
        return description, Run(interpreter.Interpreter(model_content=content))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or no exported LiteRT model: {error}") from error


class Run:
    """Runs a model by LiteRT's interpreter.

    Args:
        interpreter: of the model.
    """

    def __init__(self, interpreter: Any):
        self._interpreter = interpreter  # the runner does not keep it alive
        self._call = interpreter.get_signature_runner(SIGNATURE)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return what the model computes."""
        (result,) = self._call(**{IMAGES: images}).values()
        return result
