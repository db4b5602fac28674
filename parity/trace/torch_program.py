# pyright: reportUnknownMemberType=false
"""A PyTorch module's run as a list of operations, which can be run again with some changed."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from parity.trace.operations import kind_of, named_arguments
from parity.trace.resized import RESHAPES, resized
from torch_ref.harness.no_dropout import DROPS
from torch_ref.harness.passes import modules_of

_SKIPPED = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
_OWN = str(Path(__file__).parents[1])  # what runs a program that has no code of its own


@dataclass(frozen=True)
class Slot:
    """Stands for a tensor of the program."""

    index: int


@dataclass(frozen=True, eq=False)
class Operation:
    """One call of a function of PyTorch."""

    index: int  # in the order of computation
    kind: str  # see `parity.trace.operations`
    path: str  # the module that called it
    line: str  # where that module's code called it: file and line
    function: Callable[..., Any]  # what was called
    args: tuple[Any, ...]  # with slots in place of tensors
    kwargs: dict[str, Any]
    result: Any  # a slot, or a structure of slots

    @property
    def reads(self) -> tuple[int, ...]:
        """The slots of its inputs."""
        return tuple(s.index for s in slots((self.args, self.kwargs)))

    @property
    def writes(self) -> tuple[int, ...]:
        """The slots of its outputs."""
        return tuple(s.index for s in slots(self.result))


Run = Callable[[dict[str, Any]], Any]
"""What an operation computes instead, from its arguments by name."""


@dataclass
class Program:
    """The operations of one run, and every tensor of it."""

    operations: list[Operation] = field(default_factory=list[Operation])
    # Statistics as before the run.
    values: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    inputs: tuple[int, ...] = ()  # slots of the inputs
    # Slots of parameters and buffers, of the same after the run, and of statistics, by their slots,
    # after their move.
    parameters: dict[str, int] = field(default_factory=dict[str, int])
    state: dict[str, int] = field(default_factory=dict[str, int])
    moved: dict[int, int] = field(default_factory=dict[int, int])
    output: Any = None  # a slot, or a structure of slots
    # How far rounding alone moves a tensor, by its slot, where that may be far.
    drifts: dict[int, float] = field(default_factory=dict[int, float])

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers that operations are given, such as an eps or a slope."""
        found: list[float] = []
        for operation in self.operations:
            mapped((operation.args, operation.kwargs), found.append, float)
        return tuple(dict.fromkeys(found))

    def arguments(self, operation: Operation, values: Sequence[torch.Tensor]) -> dict[str, Any]:
        """Return an operation's arguments by name."""
        args, kwargs = mapped((operation.args, operation.kwargs), partial(_value, values))
        return named_arguments(operation.function, args, kwargs)

    def replay(
        self, changes: Mapping[int, Run], values: list[torch.Tensor] | None = None, start: int = 0
    ) -> list[torch.Tensor]:
        """Return every tensor of the program when some operations compute otherwise.

        Args:
            changes: what operations compute instead, by their index.
            values: the tensors before operation `start`; those of the recorded run where absent.
            start: the first operation to run again.
        """
        values = list(self.values if values is None else values)
        for operation in self.operations[start:]:
            self.step(operation, values, changes.get(operation.index))
        return values

    def step(self, operation: Operation, values: list[torch.Tensor], run: Run | None) -> None:
        """Run one operation, and put what it computes among the values."""
        given = {slot: values[slot] for slot in operation.reads}
        moved = [slot for slot in given if slot in self.moved]
        for slot in (*moved, *_written_over(operation)):
            given[slot] = given[slot].clone()
        args, kwargs = mapped((operation.args, operation.kwargs), partial(_value, given))
        if operation.kind in RESHAPES:
            args = self._fitted(operation, args)
        everywhere = self._has_positions(operation, args)
        if everywhere:
            args = args[0].movedim(1, -1), *args[1:]
        with torch.no_grad():
            if run is not None:
                result = run(named_arguments(operation.function, args, kwargs))
            else:
                result = operation.function(*args, **kwargs)
        if everywhere and result.ndim == args[0].ndim:
            result = result.movedim(-1, 1)
        for slot in moved:
            values[self.moved[slot]] = given[slot]
        for slot, value in zip(operation.writes, tensors(result), strict=False):
            values[slot] = value

    def _has_positions(self, operation: Operation, args: tuple[Any, ...]) -> bool:
        """Return whether an earlier change gives a linear layer a map in place of vectors."""
        if operation.kind != "linear" or not args:
            return False
        return self.values[operation.reads[0]].ndim == 2 < args[0].ndim

    def _fitted(self, operation: Operation, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a reshape's arguments for an array that an earlier change made larger."""
        before, now = self.values[operation.reads[0]].shape, args[0].shape
        joined = len(args) == 2 and isinstance(args[1], tuple | list)
        sizes = cast(Sequence[Any], args[1] if joined else args[1:])
        if before == now or len(before) != len(now) or not all(type(n) is int for n in sizes):
            return args
        return args[0], resized(sizes, before, now)


def _written_over(operation: Operation) -> tuple[int, ...]:
    in_place = operation.function.__name__.endswith("_") or operation.kwargs.get("inplace")
    return operation.reads if in_place else ()


def record(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], drop: bool = False
) -> Program:
    """Run the module without gradients and return what it did; its statistics stay.

    Args:
        module: in the mode in which it should run.
        args: what it is called with.
        kwargs: what it is called with by name.
        drop: whether its dropout drops.
    """
    program = Program()
    held = dict(module.named_parameters()) | dict(module.named_buffers())
    kept = {name: value.detach().clone() for name, value in held.items()}
    with torch.no_grad(), _Recorder(program, module, drop) as recorder:
        program.inputs = tuple(recorder.slot(x).index for x in tensors((tuple(args), dict(kwargs))))
        program.parameters = {name: recorder.slot(value).index for name, value in held.items()}
        output = module(*args, **kwargs)
    program.output = recorder.slotted(output)
    program.state = {name: recorder.slot(value).index for name, value in held.items()}
    program.values = [value.detach().clone() for value in recorder.kept]
    for name, slot in program.parameters.items():
        held[name].data.copy_(kept[name])
        moved, program.values[slot] = program.values[slot], kept[name]
        if not torch.equal(moved, kept[name]) and program.state[name] == slot:
            program.state[name] = program.moved[slot] = len(program.values)
            program.values.append(moved)
    return program


class _Recorder(TorchFunctionMode):
    def __init__(self, program: Program, module: nn.Module, drop: bool):
        super().__init__()
        self.drop = drop
        self.program, self.module, self.stack = program, module, [""]
        self.kept: list[torch.Tensor] = []  # alive, so that no two have the same id
        self.known: dict[int, int] = {}
        self.handles: list[RemovableHandle] = []
        for path, part in modules_of(module).items():
            enter, leave = self._enters(path), self._leaves
            self.handles.append(part.register_forward_pre_hook(enter))
            self.handles.append(part.register_forward_hook(leave))

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self.handles:
            handle.remove()

    def _enters(self, path: str) -> Callable[..., None]:
        def enter(*_: object) -> None:
            self.stack.append(path)

        return enter

    def _leaves(self, *_: object) -> None:
        self.stack.pop()

    def slot(self, tensor: torch.Tensor, new: bool = False) -> Slot:
        if new or id(tensor) not in self.known:
            self.known[id(tensor)] = len(self.kept)
            self.kept.append(tensor)
        return Slot(self.known[id(tensor)])

    def slotted(self, tree: Any, new: bool = False) -> Any:
        return mapped(tree, lambda tensor: self.slot(tensor, new), torch.Tensor)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = self.slotted((tuple(args), dict(kwargs or {})))
        given = mapped((args, kwargs), partial(_value, self.kept))
        kind = kind_of(func)
        if kind in DROPS and not self.drop:
            func = _same
        if func is torch.Tensor.float and given[0][0].dtype == torch.float64:
            func = _same  # as with `ExactGradients`, also where it runs again
        result = func(*given[0], **given[1])
        writes = func.__name__ == "__setitem__"
        if not writes and not tensors(result):
            return result
        made = self.slotted(given[0][0] if writes else result, new=True)
        index = len(self.program.operations)
        path = getattr(self.module, "running", self.stack[-1])
        function = _set_item if writes else func
        self.program.operations.append(
            Operation(index, kind, path, _line(), function, args, kwargs, made)
        )
        return result


def _value(values: Sequence[torch.Tensor] | Mapping[int, torch.Tensor], slot: Slot) -> torch.Tensor:
    return values[slot.index]


def _same(input: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return input.clone()


def _set_item(target: torch.Tensor, key: Any, value: Any) -> torch.Tensor:
    target = target.clone()
    target[key] = value
    return target


def _line() -> str:
    """Return the line outside PyTorch that called the operation."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and frame.f_code.co_filename.startswith(_SKIPPED):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(_OWN):
        return ""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def mapped(tree: Any, function: Callable[[Any], Any], kind: type = Slot) -> Any:
    """Return the structure with each leaf of this kind replaced."""
    if isinstance(tree, kind):
        return function(tree)
    if isinstance(tree, dict):
        items = cast(dict[Any, Any], tree).items()
        return {key: mapped(value, function, kind) for key, value in items}
    if isinstance(tree, tuple | list):
        several = cast(Sequence[Any], tree)
        own = cast(Callable[..., Any], type(several))
        parts = [mapped(value, function, kind) for value in several]
        if hasattr(several, "_fields"):  # a named tuple
            return own(*parts)
        return own(parts) if type(several) in (tuple, list) else tuple(parts)
    return tree


def slots(tree: Any) -> list[Slot]:
    """Return every slot of a structure."""
    found: list[Slot] = []
    mapped(tree, found.append)
    return found


def tensors(tree: Any) -> list[torch.Tensor]:
    """Return every tensor of a structure."""
    found: list[torch.Tensor] = []
    mapped(tree, found.append, torch.Tensor)
    return found
