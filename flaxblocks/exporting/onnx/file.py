# pyright: basic
"""ONNX: a file of opset 20, run by ONNX Runtime on CPU."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from flaxblocks.exporting.description import KEY, Description
from flaxblocks.exporting.onnx import (  # noqa: F401 (they register rules)
    elements,
    layers,
    quantized,
    shapes,
)
from flaxblocks.exporting.onnx.graph import NCHW, Graph, plain
from flaxblocks.exporting.onnx.norms import with_group_norms
from flaxblocks.exporting.onnx.own_kernels import with_own_kernels
from flaxblocks.exporting.onnx.resizing import with_resizes
from flaxblocks.exporting.onnx.rule import RULES
from flaxblocks.exporting.operation import Value, unsupported
from flaxblocks.exporting.prepare import Prepared
from flaxblocks.exporting.program import Program, program_of, used_steps

if TYPE_CHECKING:
    import onnxruntime

OPSET = 20
"""Of ONNX 1.15 in October 2023: the first with GELU."""

IR_VERSION = 9
"""The format of files of that time; ONNX Runtime refuses those that are newer than it knows."""

IMAGES = "images"


def write(prepared: Prepared, path: Path) -> None:
    """Write the graph.

    Raises:
        ValueError: if the model has an operation that there is no rule for; it names the layer.
    """
    program = program_of(prepared.function, prepared.images)
    graph, result = _graph(program)
    output = prepared.description.output
    graph.keep_used(result)
    graph.nodes.append(helper.make_node("Identity", [result], [output]))
    made = helper.make_graph(
        graph.nodes,
        prepared.description.name or "model",
        [_declared(IMAGES, program.images)],
        [_declared(output, program.result)],
        graph.weights,
    )
    model = helper.make_model(
        made,
        producer_name="flaxblocks",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {KEY: prepared.description.to_json()})
    onnx.save(model, path)


def _graph(program: Program) -> tuple[Graph, str]:
    graph = Graph()
    graph.store(program.images, IMAGES, plain(len(program.images.shape)))
    turned = graph.add("Transpose", [IMAGES], perm=NCHW)
    graph.store(program.images, turned, NCHW)
    for together in (with_group_norms, with_resizes, with_own_kernels):
        program.operations = together(program.operations)
    for operation in used_steps(program):
        rule = RULES.get(operation.name)
        if rule is None:
            raise unsupported(operation.name, operation.layer)
        try:
            rule(graph, operation)
        except NotImplementedError as error:
            raise unsupported(operation.name, operation.layer) from error
    result = program.result
    assert isinstance(result, Value)
    return graph, graph.take(result, plain(len(result.shape)))


def _declared(name: str, value: Any) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    sizes = [size if isinstance(size, int) else str(size) for size in value.shape]
    return helper.make_tensor_value_info(name, kind, sizes)


def read(path: Path) -> tuple[Description, "Run"]:
    """Return a model's description and its function.

    Raises:
        ValueError: if the file is something else.
    """
    import onnxruntime
    from onnxruntime.capi import (
        onnxruntime_pybind11_state as errors,  # pyright: ignore[reportAttributeAccessIssue]
    )

    try:
        session = onnxruntime.InferenceSession(path)
    except (errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail) as error:
        raise ValueError(f"{path} is damaged, or no exported ONNX model: {error}") from error
    properties = session.get_modelmeta().custom_metadata_map
    if KEY not in properties:
        raise ValueError(f"{path} is damaged, or no exported ONNX model: it has no description")
    return Description.from_json(properties[KEY]), Run(session)


class Run:
    """Runs a model by ONNX Runtime.

    Args:
        session: of ONNX Runtime.
    """

    def __init__(self, session: "onnxruntime.InferenceSession"):
        self.session = session

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return what the model computes."""
        (result,) = self.session.run(None, {IMAGES: images})
        return np.asarray(result)
