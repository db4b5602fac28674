"""The rules by the name of the operation that they write."""

from collections.abc import Callable

from flaxblocks.exporting.onnx.graph import Graph
from flaxblocks.exporting.operation import Operation

Rule = Callable[[Graph, Operation], None]
"""Writes an operation; NotImplementedError where ONNX has nothing for its parameters."""

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register what writes the operations of these names."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register
