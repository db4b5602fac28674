"""An operation under suspicion, and the ways in which JAX may compute it otherwise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from parity.trace.jax_program import JaxProgram
from parity.trace.operations import LAYOUT
from parity.trace.torch_program import Operation, Program, Run, Slot
from torch_ref.harness.no_dropout import DROPS


@dataclass(frozen=True)
class Change:
    """A mistake as what PyTorch's operations compute with it."""

    cause: str  # one clause that names both sides
    runs: Mapping[int, Run]  # what operations compute instead, by their index
    fix: str = ""  # what to do about it
    takes: str = ""  # the layer whose weights JAX takes instead
    # the kernel's shape and order of axes that give JAX's, where it may have its own
    relays: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    portable: bool = True  # whether it may be made in another run of the module as it is


@dataclass(frozen=True, eq=False)
class Site:
    """One operation of PyTorch's program, and what is known around it."""

    operation: Operation
    program: Program
    values: Sequence[torch.Tensor]  # of the run, with what was repaired so far
    jax_program: JaxProgram
    training: bool

    @property
    def kind(self) -> str:
        """The operation's kind."""
        return self.operation.kind

    @property
    def gives_one(self) -> bool:
        """Whether the operation gives a tensor, not a structure of them."""
        return isinstance(self.operation.result, Slot)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The operation's arguments by name."""
        return self.program.arguments(self.operation, self.values)

    @property
    def input(self) -> torch.Tensor:
        """The operation's first input."""
        return next(iter(self.arguments.values()))

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, or the default where it is not given."""
        value = self.arguments.get(name)
        return default if value is None else value

    def numbers(self, low: float, high: float, usual: Sequence[float] = ()) -> list[float]:
        """Return numbers that JAX's program holds in an interval, and the usual ones."""
        found = [x for x in (*self.jax_program.numbers, *usual) if low <= x <= high]
        return list(dict.fromkeys(found))

    def original(self, arguments: dict[str, Any]) -> Any:
        """Run the operation as PyTorch does, on arguments by name."""
        positional = [v for k, v in arguments.items() if self._is_positional(k)]
        named = {k: v for k, v in arguments.items() if not self._is_positional(k)}
        return self.operation.function(*positional, **named)

    def _is_positional(self, name: str) -> bool:
        return name in list(self.arguments)[: len(self.operation.args)]

    def change(self, cause: str, run: Run, fix: str = "") -> Change:
        """Return a change of this operation alone."""
        return Change(cause, {self.operation.index: run}, fix)

    def otherwise(self, cause: str, fix: str = "", **changed: Any) -> Change:
        """Return the change that gives this operation other arguments."""
        return self.change(cause, lambda own: self.original({**own, **changed}), fix)

    def followers(self) -> list[Operation]:
        """Return the operations that read this one's output; layouts and dropout passed over."""
        slots = set(self.operation.writes)
        found: list[Operation] = []
        for operation in self.program.operations[self.operation.index + 1 :]:
            if slots & set(operation.reads):
                if operation.kind in LAYOUT | DROPS:
                    slots |= set(operation.writes)
                else:
                    found.append(operation)
        return found

    def same_kind(self) -> Iterator[Operation]:
        """Yield the other operations of this kind."""
        yield from (
            o for o in self.program.operations if o.kind == self.kind and o is not self.operation
        )

    def maker(self, slot: int) -> Operation | None:
        """Return the operation that makes a tensor."""
        return next((o for o in self.program.operations if slot in o.writes), None)

    def is_given(self, slot: int) -> bool:
        """Return whether a tensor is as the module holds it, but for its layout."""
        maker = self.maker(slot)
        while maker is not None and maker.kind in LAYOUT:
            slot = maker.reads[0]
            maker = self.maker(slot)
        return maker is None and slot not in self.program.inputs

    def unflattened(self) -> torch.Tensor | None:
        """Return the map that was flattened into this operation's input, where one was."""
        slot = self.image_slot()
        return None if slot is None else self.values[slot]

    def image_slot(self) -> int | None:
        """Return the slot of the map that was flattened into this operation's input."""
        slot = self.operation.reads[0]
        maker = self.maker(slot)
        while maker is not None and (maker.kind in LAYOUT | DROPS):
            slot = maker.reads[0]
            if self.values[slot].ndim > max(self.input.ndim, 2):
                return slot
            maker = self.maker(slot)
        return None


Hypothesis = Callable[[Site], Iterator[Change]]
"""Yields the ways in which JAX may compute the operation otherwise, the likely ones first."""


def place_of(program: Program, operation: Operation) -> tuple[str, str, int]:
    """Return what tells the operation apart in another run of the module."""
    key = operation.path, operation.kind
    alike = [o for o in program.operations if (o.path, o.kind) == key]
    return (*key, alike.index(operation))
