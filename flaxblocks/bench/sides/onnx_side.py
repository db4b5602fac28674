# pyright: basic
"""ONNX Runtime as a contestant: PyTorch's module, exported. Inference on CPU only."""

import warnings
from time import perf_counter

import numpy as np

from flaxblocks.bench.sides import torch_side
from flaxblocks.bench.tasks.task import Data, Prepared, Task


def session(task: Task, data: Data) -> Prepared:
    """Prepare a task with ONNX Runtime."""
    import onnxruntime
    import torch

    if task.device != "cpu" or task.dtype != "float32":
        raise RuntimeError("ONNX Runtime is timed on CPU in float32 only")
    module, x = torch_side.load(task, data)
    started = perf_counter()
    with warnings.catch_warnings():  # PyTorch's exporter uses what PyTorch has deprecated
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    assert program is not None  # None comes back where a file is written
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)
    compile_seconds = perf_counter() - started
    feed = {session.get_inputs()[0].name: x.contiguous().numpy()}
    (output,) = session.run(None, feed)
    output = np.asarray(output)
    return Prepared(
        run=lambda: session.run(None, feed),
        answer={"output": np.moveaxis(output, 1, -1) if output.ndim == 4 else output},
        compile_seconds=compile_seconds,
    )
