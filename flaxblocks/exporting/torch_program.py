# pyright: reportUnknownMemberType=false
"""PyTorch: a ``.pt2`` file of `torch.export`, run by PyTorch on CPU.

The program's arrays stay NHWC. A convolution turns a view of them, which to PyTorch is an NCHW
tensor in channels-last memory, the layout that its CPU kernels prefer.
"""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from flaxblocks.exporting.description import KEY, Description
from flaxblocks.exporting.operation import Value, unsupported
from flaxblocks.exporting.prepare import Prepared
from flaxblocks.exporting.program import Program, program_of
from flaxblocks.exporting.torch_rules import RULES


def _module(program: Program) -> Any:
    """Return a program as a PyTorch module.

    Raises:
        ValueError: if there is a step without a rule; it names the layer.
    """
    import torch

    class Module(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            arrays = dict(self.named_buffers())
            return _computed(program, images, lambda array: arrays[_name(array)])

    module = Module()
    for operation in program.operations:
        if operation.name not in RULES:
            raise unsupported(operation.name, operation.layer)
        for operand in operation.operands:
            if isinstance(operand, np.ndarray):
                module.register_buffer(_name(operand), _tensor(operand))
    return module.eval()


def _tensor(array: np.ndarray) -> Any:
    """Return a copy as a tensor; PyTorch takes no bfloat16 of NumPy's."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.array(array))


def _name(array: np.ndarray) -> str:
    return f"array_{id(array)}"


def _computed(program: Program, images: Any, look_up: Callable[[np.ndarray], Any]) -> Any:
    """Return what the steps compute, one by one."""
    known = {id(program.images): images}
    for operation in program.operations:
        operands = [
            known[id(operand)] if isinstance(operand, Value) else look_up(operand)
            for operand in operation.operands
        ]
        try:
            made = RULES[operation.name](operation, *operands)
        except NotImplementedError as error:
            raise unsupported(operation.name, operation.layer) from error
        results = cast(tuple[Any, ...], made if isinstance(made, tuple) else (made,))
        known |= {id(v): t for v, t in zip(operation.results, results, strict=True)}
    return known[id(program.result)]


def write(prepared: Prepared, path: Path) -> None:
    """Write the program, traced by `torch.export`.

    Raises:
        ValueError: if the model has an operation that there is no rule for; it names the layer.
    """
    import torch

    open_batch = not isinstance(prepared.images.shape[0], int)
    kind = getattr(torch, prepared.description.input_dtype)
    images = torch.zeros(prepared.example, dtype=kind)
    sizes = {0: torch.export.Dim("n")} if open_batch else None
    module = _module(program_of(prepared.function, prepared.images))
    with torch.no_grad():
        exported = torch.export.export(module, (images,), dynamic_shapes={"images": sizes})
    files: dict[str, Any] = {KEY: prepared.description.to_json()}
    content = BytesIO()  # PyTorch ends the process where it cannot write to a file
    torch.export.save(exported, content, extra_files=files)
    path.write_bytes(content.getbuffer())


def read(path: Path) -> tuple[Description, "Run"]:
    """Return a program's description and its function.

    Raises:
        ValueError: if the file is something else.
    """
    import torch

    files = {KEY: ""}
    try:
        if not zipfile.is_zipfile(path):  # of which PyTorch would print a traceback
            raise ValueError("it is no archive")
        with path.open("rb") as file:  # of a path with another suffix PyTorch warns
            program = torch.export.load(file, extra_files=files)
        return Description.from_json(files[KEY]), Run(program.module())
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged, or no exported PyTorch program: {error}") from error


class Run:
    """Runs a program by PyTorch.

    Args:
        module: of the program.
    """

    def __init__(self, module: Any):
        self.module = module

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return what the program computes."""
        import torch

        with torch.no_grad():
            return self.module(torch.from_numpy(np.array(images))).numpy()
