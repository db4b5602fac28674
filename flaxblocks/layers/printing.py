"""Blocks and layers in a few lines."""

from collections.abc import Iterator
from functools import cache, partial
from inspect import Parameter, signature
from itertools import groupby
from textwrap import indent
from typing import Any, cast

from flax import nnx

WIDTH = 100  # characters of a line
OURS = {"strides": "stride", "kernel_dilation": "dilation", "feature_group_count": "groups"}
"""What we call arguments that NNX's layers keep under other names."""


def describe(module: nnx.Module, width: int = WIDTH) -> str:
    """Return a module as a call that makes it: its arguments but the defaults, and its parts."""
    kind = type(module).__name__
    parts = list(_parts(module))
    line = f"{kind}({', '.join(name + _described(value, WIDTH) for name, value in parts)})"
    if len(line) <= width and "\n" not in line:
        return line
    inner = (f"{name}{_described(value, width - len(name) - 3)},\n" for name, value in parts)
    return f"{kind}(\n{indent(''.join(inner), '  ')})"


def _parts(module: nnx.Module) -> Iterator[tuple[str, Any]]:
    """Yield the module's arguments and parts, each with ``"name="`` unless given by position."""
    arguments = _arguments(type(module))
    values = {OURS.get(name, name): value for name, value in vars(module).items()}
    positional = [n for n, a in arguments.items() if a.kind is a.POSITIONAL_OR_KEYWORD]
    for name in positional:
        if isinstance(values.get(name), int | tuple):
            yield "", values.pop(name)
    for name, value in values.items():
        if isinstance(value, nnx.RngStream | nnx.Variable):
            continue
        if isinstance(value, nnx.Module) or (name in arguments and _tells(value, arguments[name])):
            yield f"{name}=", value


@cache
def _arguments(kind: type) -> dict[str, Parameter]:
    return dict(signature(kind.__init__).parameters)


def _tells(value: object, argument: Parameter) -> bool:
    """Return whether the value is another than the argument's default."""
    default = argument.default
    if value is None:
        return callable(default)
    return value is not default and _compact(value) != default


def _described(value: Any, width: int) -> str:
    if isinstance(value, nnx.List):
        kinds = (type(part).__name__ for part in cast("nnx.List[Any]", value))
        runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
        return f"[{', '.join(kind if size == 1 else f'{size} x {kind}' for kind, size in runs)}]"
    if isinstance(value, nnx.Module):
        return describe(value, width)
    if isinstance(value, partial):
        value = value.func
    return getattr(value, "__name__", None) or repr(_compact(value))


def _compact(value: Any) -> Any:
    """Return one number in place of a tuple of equal ones."""
    while isinstance(value, tuple):
        parts = cast("tuple[Any, ...]", value)
        if len(set(parts)) != 1:
            return parts
        value = parts[0]
    return value
