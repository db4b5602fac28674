"""PyTorch programs without Python code: exported ones, and TorchScript."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import fx, nn
from torch._export.converter import TS2EPConverter


class Exported(nn.Module):
    """An exported program, which keeps the mode in which it was recorded.

    Args:
        graph: its graph.
        root: the module that holds its tensors.
    """

    has_modes = False
    running = ""  # the path of the layer of the operation that runs

    def __init__(self, graph: fx.Graph, root: nn.Module):
        super().__init__()
        self.graph = graph
        self._parameters.update(root._parameters)
        self._buffers.update(root._buffers)
        self._modules.update(root._modules)

    @classmethod
    def of(cls, program: torch.export.ExportedProgram) -> "Exported":
        """Return a program as a module."""
        module = program.module(check_guards=False)
        assert isinstance(module, fx.GraphModule)
        return cls(module.graph, module)

    @classmethod
    def of_script(
        cls, script: torch.jit.ScriptModule, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> "Exported":
        """Return a TorchScript module as a module, as it runs on these arguments."""
        with torch.no_grad():  # else the copies depend on the script's own tensors
            copy = deepcopy(script).eval()
            program = TS2EPConverter(copy, tuple(args), dict(kwargs)).convert()
        module = cls.of(program)
        for name, tensor in script.named_parameters():
            path, _, leaf = name.rpartition(".")
            part = _holder(module, path)
            value = part._buffers.pop(leaf, None)  # what needs no gradient is a buffer
            if leaf not in part._parameters:  # what no operation uses is left out
                value = tensor.detach().clone() if value is None else value
                part.register_parameter(leaf, nn.Parameter(value))
        for name, tensor in script.named_buffers():
            path, _, leaf = name.rpartition(".")
            if leaf not in (part := _holder(module, path))._buffers:
                part.register_buffer(leaf, tensor.detach().clone())
        return module

    def __deepcopy__(self, memo: dict[int, Any]) -> "Exported":
        """Copy the tensors; the graph stays as it is."""
        memo[id(self.graph)] = self.graph
        copy = Exported.__new__(Exported)
        copy.__dict__ = deepcopy(self.__dict__, memo)
        return copy

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program."""
        return _Interpreter(self, graph=self.graph).run(*args, *kwargs.values())


def _holder(module: nn.Module, path: str) -> nn.Module:
    """Return the part of a module at a path, which is made where the module has none."""
    for key in path.split(".") if path else ():
        if not hasattr(module, key):
            module.add_module(key, nn.Module())
        module = module.get_submodule(key)
    return module


class _Interpreter(fx.Interpreter):
    """Says which layer runs, where the program knows it."""

    def run_node(self, n: fx.Node) -> Any:
        """Run an operation."""
        stack = n.meta.get("nn_module_stack") or {"": ("", None)}
        setattr(self.module, "running", list(stack.values())[-1][0])  # noqa: B010 - an `Exported`
        return super().run_node(n)
