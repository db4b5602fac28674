"""A function of PyTorch's as a module, which has the modules that the function holds."""

from collections.abc import Callable
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, cast

from torch import nn

_HOLDERS: tuple[Any, ...] = (nn.Module, MethodType, partial)
Swap = Callable[[str, nn.Module], nn.Module]
"""Returns what stands for a module that a function holds, of its name there and itself."""


class Called(nn.Module):
    """A function as a module: what it closes over, is bound to or is given becomes its parts.

    So their tensors have names, and another dtype where the module is in one.
    """

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        held: dict[str, nn.Module] = {}
        _swapped("function", function, lambda name, part: held.setdefault(name, part))
        self.function = function
        for name, part in held.items():
            self.add_module(name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function on the parts as they are now."""
        parts = dict(self.named_children())
        return _swapped("function", self.function, lambda name, _: parts[name])(*args, **kwargs)


def _swapped(name: str, value: Any, swap: Swap) -> Any:
    """Return a module, or a function that holds some, with each one swapped."""
    if isinstance(value, nn.Module):
        return swap(name, value)
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _swapped("module", value.__self__, swap))
    if isinstance(value, partial):
        given = cast("partial[Any]", value)
        args = [_swapped(f"argument_{i}", arg, swap) for i, arg in enumerate(given.args)]
        kwargs = {key: _swapped(key, arg, swap) for key, arg in given.keywords.items()}
        return partial(_swapped(name, given.func, swap), *args, **kwargs)
    if isinstance(value, FunctionType):
        return _with(value, swap)
    return value


def _with(function: FunctionType, swap: Swap) -> Any:
    """Return a function of Python with other modules in what it closes over and in its globals."""
    code = function.__code__
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    named = {name: function.__globals__.get(name) for name in code.co_names}
    held = {**named, **{name: cell.cell_contents for name, cell in cells.items()}}
    before = {name: value for name, value in held.items() if isinstance(value, _HOLDERS)}
    after = {name: _swapped(name, value, swap) for name, value in before.items()}
    if all(after[name] is value for name, value in before.items()):
        return function
    closure = tuple(CellType(after[n]) if n in after else cell for n, cell in cells.items())
    known = function.__globals__ | {name: after[name] for name in after if name in named}
    made = FunctionType(code, known, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    return made
