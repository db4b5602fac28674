# pyright: reportUnknownMemberType=false
"""LiteRT: a ``.tflite`` file, converted from StableHLO, run by LiteRT's interpreter on CPU.

The description is a zip archive behind the flatbuffer, which is where TFLite has associated files;
the interpreter does not read that far.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from flaxblocks._base.optional import required
from flaxblocks.exporting.description import Description
from flaxblocks.exporting.litert_marks import MARKS, without_marks
from flaxblocks.exporting.litert_steps import as_litert
from flaxblocks.exporting.operation import unsupported
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
    function = jax.jit(as_litert(prepared.function))
    with convolution("lax"):
        exported = jax_export.export(function, disabled_checks=MARKS)(prepared.images)
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
        without_marks(module, ir)
        functions = {op.attributes["sym_name"].value: op for op in module.body.operations}
        converter.set_signature(functions["main"], SIGNATURE, [IMAGES], [output])
        config = converter.ConvertToTFLConfig()
        # Else a batch of any size has its biases broadcast by operations of their own.
        config.unsafe_fuse_dynamic_shaped_broadcast = True
        # Integers between the types that are there, float32 everywhere else, as at the border.
        config.qdq_conversion_mode, config.strict_qdq_mode = "STATIC", True
        try:
            converter.run_convert_to_tfl_passes(module, passmanager.PassManager(), config)
        except ir.MLIRError as error:
            raise ValueError(f"`model` cannot be exported to LiteRT: {error}") from error
        try:
            return converter.export_flatbuffer_to_bytes(module.operation)
        except ValueError as error:  # it does not say what it could not write
            name, layer = next(_left(module.operation), ("an operation", ""))
            raise unsupported(name, layer) from error


def _left(operation: Any) -> Iterator[tuple[str, str]]:
    """Yield the steps that LiteRT has no operation for, with the layers that they stand in."""
    schema = required("ai_edge_litert.schema_py_generated", "ai-edge-litert", *NEEDED)
    for region in operation.regions:
        for block in region:
            for step in block.operations:
                dialect, _, name = step.operation.name.partition(".")
                if dialect in ("stablehlo", "chlo"):
                    if not hasattr(schema.BuiltinOperator, f"STABLEHLO_{name.upper()}"):
                        place = re.search(r'"jit\([^)]*\)/([^"]*)"', str(step.operation.location))
                        yield name, place[1].rpartition("/")[0] if place else ""
                else:
                    yield from _left(step.operation)


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
