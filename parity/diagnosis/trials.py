"""PyTorch's program run again with some operations changed, and what then agrees with JAX's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from parity.diagnosis.agreement import Agreement, Found, difference
from parity.trace.torch_program import Operation, Program, Run

REACH = 10  # operations after a suspect in which its change must show
# What PyTorch raises where an operation cannot run with the change: it is then no explanation.
_IMPOSSIBLE = (RuntimeError, ValueError, IndexError)


@dataclass(frozen=True, eq=False)
class Trials:
    """What runs with changes are judged by.

    Args:
        program: PyTorch's run.
        agreement: what it has in common with JAX's.
        outputs: JAX's outputs.
        read: brings PyTorch's outputs into JAX's layout.
        limit: how far outputs may be apart.
    """

    program: Program
    agreement: Agreement
    outputs: Sequence[np.ndarray]
    read: Callable[[Sequence[torch.Tensor]], list[np.ndarray]]
    limit: float

    def leading_back(
        self, operation: Operation, runs: dict[int, Run], values: list[torch.Tensor], found: Found
    ) -> list[torch.Tensor] | None:
        """Return the values where these runs give JAX's in place of what it does not hold."""
        if any(found.get(slot) for slot in operation.writes):
            return None
        changed = list(values)
        try:
            self.program.step(operation, changed, runs.get(operation.index))
        except _IMPOSSIBLE:
            return None
        if not all(self.agreement.step(operation, changed, found).values()):
            return None
        return self.replayed(runs, values, operation.index)

    def replayed(
        self, runs: dict[int, Run], values: Sequence[torch.Tensor], start: int
    ) -> list[torch.Tensor]:
        """Return the values with these runs as far as the program runs, then as they were."""
        changed = list(values)
        try:
            for operation in self.program.operations[start:]:
                self.program.step(operation, changed, runs.get(operation.index))
        except _IMPOSSIBLE:
            return changed
        return changed

    def error(self, values: Sequence[torch.Tensor]) -> float:
        """Return how far PyTorch's outputs are from JAX's."""
        return difference(self.read(values), self.outputs)

    def gain(
        self,
        operation: Operation,
        runs: dict[int, Run],
        values: list[torch.Tensor],
        found: Found,
    ) -> float:
        """Return how many operations agree with these runs, infinity where the outputs do."""
        if not self._shows(operation, runs, values, found):
            return 0
        try:
            changed = self.program.replay(runs, values, operation.index)
        except _IMPOSSIBLE:
            return 0
        if self.error(changed) <= self.limit:
            return np.inf
        return len(self.agreement.evidence(self.agreement.found(changed)))

    def _shows(
        self, operation: Operation, runs: dict[int, Run], values: list[torch.Tensor], found: Found
    ) -> bool:
        """Return whether anything new agrees soon after the change, or the program ends."""
        values, found = list(values), dict(found)
        touched, steps = set(operation.writes), 0
        for later in self.program.operations[operation.index :]:
            if later is not operation and not touched & set(later.reads):
                continue
            touched |= set(later.writes)
            had = any(found.get(s) for s in later.writes)
            try:
                self.program.step(later, values, runs.get(later.index))
            except _IMPOSSIBLE:
                return False
            found |= self.agreement.step(later, values, found)
            if not had and self.agreement.is_evidence(later, found):
                return True
            steps += 1
            if steps == REACH:
                return False
        return True
