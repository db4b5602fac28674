"""Which operations of PyTorch's program compute what JAX's program holds too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from parity.trace.match import Index
from parity.trace.operations import LAYOUT
from parity.trace.torch_program import Operation, Program

Found = dict[int, frozenset[int]]  # of a slot: the numbers of the values that hold the same


@dataclass(frozen=True, eq=False)
class Agreement:
    """Two programs, and what a run of PyTorch's has in common with JAX's."""

    program: Program
    index: Index
    depends: frozenset[int]  # slots that depend on the inputs

    @classmethod
    def of(cls, program: Program, index: Index) -> "Agreement":
        """Return the agreement of two programs."""
        depends = set(program.inputs)
        for operation in program.operations:
            if depends & set(operation.reads):
                depends |= set(operation.writes)
        return cls(program, index, frozenset(depends))

    def found(self, values: Sequence[torch.Tensor]) -> Found:
        """Return where JAX's program holds each tensor of a run."""
        found: Found = {}
        for operation in self.program.operations:
            found |= self.step(operation, values, found)
        return found

    def step(
        self,
        operation: Operation,
        values: Sequence[torch.Tensor],
        found: Mapping[int, frozenset[int]],
    ) -> Found:
        """Return where JAX's program holds what one operation computed."""
        if operation.kind in LAYOUT:
            own = frozenset[int]().union(*(found.get(s, frozenset()) for s in operation.reads))
            return dict.fromkeys(operation.writes, own)
        drifts = self.program.drifts
        return {
            s: self.index.find(values[s], drifts.get(s, 0.0))
            for s in operation.writes
            if s in self.depends
        }

    def is_evidence(self, operation: Operation, found: Mapping[int, frozenset[int]]) -> bool:
        """Return whether an operation computed something that its inputs do not hold already."""
        if operation.kind in LAYOUT:
            return False
        before = frozenset[int]().union(*(found.get(s, frozenset()) for s in operation.reads))
        return any(found.get(s, frozenset()) - before for s in operation.writes)

    def evidence(self, found: Mapping[int, frozenset[int]]) -> set[int]:
        """Return the operations that are evidence."""
        return {o.index for o in self.program.operations if self.is_evidence(o, found)}

    def unexplained(
        self, values: Sequence[torch.Tensor], found: Mapping[int, frozenset[int]]
    ) -> list[Operation]:
        """Return the operations after which nothing agrees, in order.

        Another program may join its steps otherwise, so an operation whose result JAX never holds
        is explained by any later one that agrees and depends on it.
        """
        explained = {s for s in range(len(values)) if found.get(s)} | set(self.program.inputs)
        needed: set[int] = set()
        left: list[Operation] = []
        for operation in reversed(self.program.operations):
            writes = [s for s in operation.writes if s in self.depends]
            floats = [s for s in writes if values[s].is_floating_point() and values[s].numel() > 1]
            if any(s in explained or s in needed for s in writes):
                needed |= set(operation.reads)
            elif floats and not self._repeats(operation, values, explained):
                left.append(operation)
        return left[::-1]

    def _repeats(
        self, operation: Operation, values: Sequence[torch.Tensor], explained: set[int]
    ) -> bool:
        """Return whether an operation gives what it takes, as dropout does in eval mode."""
        inputs = [values[s] for s in operation.reads if s in explained]
        outputs = [values[s] for s in operation.writes]
        return any(
            x.shape == y.shape and x.dtype == y.dtype and torch.equal(x, y)
            for x in inputs
            for y in outputs
        )


def difference(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> float:
    """Return the largest difference of the outputs, as a fraction of each one's scale."""
    from parity.checks.measure import scaled_error

    if len(theirs) != len(ours):
        return float("inf")
    return max((scaled_error(b, a) for a, b in zip(theirs, ours, strict=True)), default=0.0)
