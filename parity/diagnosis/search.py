"""Finds what JAX computes otherwise: a change of PyTorch's program that makes the two agree.

A suspected mistake is planted in PyTorch's program, which then runs again. It is a cause where the
operation, or one after it, then computes what JAX's program holds and held nothing of before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from parity.diagnosis.agreement import Agreement, Found, difference
from parity.diagnosis.site import Change, Hypothesis, Site
from parity.trace.jax_program import JaxProgram
from parity.trace.match import Index
from parity.trace.operations import LAYOUT
from parity.trace.torch_program import Operation, Program, Run

SUSPECTS = 6  # first operations without a counterpart that are questioned
REACH = 10  # operations after a suspect in which its change must show
ROUNDS = 12  # different causes that are looked for


@dataclass(frozen=True)
class Repair:
    """A change that is tried, of one operation."""

    operation: Operation
    hypothesis: Hypothesis
    change: Change


@dataclass(frozen=True)
class Finding:
    """A cause that was proven, with every operation where it holds."""

    change: Change
    operations: tuple[Operation, ...]
    line: str  # of JAX's code that computes the first of them


@dataclass(frozen=True)
class Result:
    """What a search found."""

    findings: list[Finding]
    unknown: Operation | None  # the first operation that still has no counterpart
    error: float  # of the outputs, with everything found repaired


@dataclass
class Search:
    """A search in one mode.

    Args:
        program: PyTorch's run.
        jax_program: JAX's.
        index: the values of JAX's run.
        outputs: JAX's outputs.
        state: JAX's statistics after the run, by native name.
        read: brings PyTorch's outputs into JAX's layout.
        training: whether the runs are in train mode.
        limit: how far outputs may be apart.
    """

    program: Program
    jax_program: JaxProgram
    index: Index
    outputs: Sequence[np.ndarray]
    state: Mapping[str, np.ndarray]
    read: Callable[[Sequence[torch.Tensor]], list[np.ndarray]]
    training: bool
    limit: float
    runs: dict[int, Run] = field(default_factory=dict[int, Run])
    # Operations whose change is not portable.
    bound_to_run: set[int] = field(default_factory=set[int])

    def __post_init__(self):
        self.agreement = Agreement.of(self.program, self.index)

    def find(self, hypotheses: Sequence[Hypothesis], rounds: int = ROUNDS) -> Result:
        """Return the causes, at most so many, the first in the order of computation first."""
        findings: list[Finding] = []
        while True:
            values = self.program.replay(self.runs)
            found = self.agreement.found(values)
            error = self.error(values)
            left = self.agreement.unexplained(values, found)
            if error <= self.limit or len(findings) == rounds:
                return Result(
                    findings, None if error <= self.limit else next(iter(left), None), error
                )
            suspects = self._suspects(left[:SUSPECTS])
            best = self._best(suspects, values, found, hypotheses)
            repairs = self._two(suspects, values, found, hypotheses) if best is None else (best,)
            if not repairs:
                return Result(findings, next(iter(left), None), error)
            self.runs = self.runs | {k: run for r in repairs for k, run in r.change.runs.items()}
            findings += [self._everywhere(repair, values) for repair in repairs]

    def use(
        self, index: Index, outputs: Sequence[np.ndarray], state: Mapping[str, np.ndarray]
    ) -> None:
        """Search among other values of JAX's program."""
        self.index, self.outputs, self.state = index, outputs, state
        self.agreement = Agreement.of(self.program, index)

    def error(self, values: Sequence[torch.Tensor]) -> float:
        """Return how far PyTorch's outputs are from JAX's."""
        return difference(self.read(values), self.outputs)

    def _suspects(self, left: Sequence[Operation]) -> list[Operation]:
        """Return these operations, each after those that made its inputs.

        What JAX does to an input that agrees, and PyTorch does not, shows in the next operation.
        """
        suspects: list[Operation] = []
        for operation in left:
            reads = set(operation.reads)
            for maker in reversed(self.program.operations[: operation.index]):
                if reads & set(maker.writes) & self.agreement.depends:
                    reads |= set(maker.reads) if maker.kind in LAYOUT else set()
                    suspects.append(maker)
            suspects.append(operation)
        kept = [o for o in dict.fromkeys(suspects) if o.kind not in LAYOUT]
        return sorted(kept, key=lambda o: o.index)

    def _best(
        self,
        suspects: Sequence[Operation],
        values: list[torch.Tensor],
        found: Found,
        hypotheses: Sequence[Hypothesis],
    ) -> Repair | None:
        """Return the change that makes most agree; a whole that agrees ends the search."""
        best, most = None, 0
        before = len(self.agreement.evidence(found))
        for repair in self._repairs(suspects, values, hypotheses):
            runs = self.runs | dict(repair.change.runs)
            gain = self._gain(repair.operation, runs, values, found) - before
            if gain > most:
                best, most = repair, gain
            if gain == np.inf:
                break
        return best

    def _repairs(
        self,
        operations: Sequence[Operation],
        values: Sequence[torch.Tensor],
        hypotheses: Sequence[Hypothesis],
    ) -> Iterator[Repair]:
        for operation in operations:
            site = self._site(operation, values)
            for hypothesis in hypotheses:
                yield from (Repair(operation, hypothesis, c) for c in hypothesis(site))

    def _two(
        self,
        suspects: Sequence[Operation],
        values: list[torch.Tensor],
        found: Found,
        hypotheses: Sequence[Hypothesis],
    ) -> tuple[Repair, ...]:
        """Return two changes in a row that make most agree, where no single one does.

        With the first, its operation gives what JAX holds already, as without an activation: that
        is no evidence by itself. The second is of an operation that reads it.
        """
        best, most = (), 0
        before = len(self.agreement.evidence(found))
        for first in self._repairs(suspects, values, hypotheses):
            runs = self.runs | dict(first.change.runs)
            changed = self._leading_back(first.operation, runs, values, found)
            if changed is None:
                continue
            now = self.agreement.found(changed)
            followers = self._site(first.operation, changed).followers()
            for second in self._repairs(followers, changed, hypotheses):
                alone = self.runs | dict(second.change.runs)
                both = runs | dict(second.change.runs)
                gain = self._gain(second.operation, both, changed, now) - before
                if gain <= most or self._gain(second.operation, alone, values, found) > before:
                    continue
                best, most = (first, second), gain
                if gain == np.inf:
                    return best
        return best

    def _leading_back(
        self, operation: Operation, runs: dict[int, Run], values: list[torch.Tensor], found: Found
    ) -> list[torch.Tensor] | None:
        """Return the values where these runs give JAX's in place of what it does not hold."""
        if any(found.get(slot) for slot in operation.writes):
            return None
        changed = list(values)
        try:
            self.program.step(operation, changed, runs.get(operation.index))
            if not all(self.agreement.step(operation, changed, found).values()):
                return None
            return self.program.replay(runs, values, operation.index)
        except _IMPOSSIBLE:
            return None

    def _gain(
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

    def _everywhere(self, repair: Repair, values: list[torch.Tensor]) -> Finding:
        """Make the change, at every operation of the kind at once where that makes more agree."""
        operation, hypothesis, change = repair.operation, repair.hypothesis, repair.change
        alone = self.runs | dict(change.runs)
        alone_values = self.program.replay(alone)
        alone_count = len(self.agreement.evidence(self.agreement.found(alone_values)))
        others = [
            (other, same)
            for other in self.program.operations[operation.index + 1 :]
            if other.kind == operation.kind
            for same in hypothesis(self._site(other, values))
            if same.cause == change.cause
        ]
        self.runs = alone
        if not change.portable:
            self.bound_to_run |= set(change.runs)
        places = [operation]
        if others and self.error(alone_values) > self.limit:
            runs = alone | {k: run for _, same in others for k, run in same.runs.items()}
            everywhere = self.program.replay(runs)
            found = self.agreement.found(everywhere)
            if len(self.agreement.evidence(found)) > alone_count and all(
                any(found.get(s) for s in other.writes) for other, _ in others
            ):
                self.runs, places = runs, [operation, *(other for other, _ in others)]
        return Finding(change, tuple(places), self._line(operation))

    def _line(self, operation: Operation) -> str:
        values = self.program.replay(self.runs)
        found = self.agreement.found(values)
        places = [i for s in operation.writes for i in sorted(found.get(s, ()))]
        return self.index.values[places[0]].line if places else ""

    def _site(self, operation: Operation, values: Sequence[torch.Tensor]) -> Site:
        return Site(operation, self.program, values, self.jax_program, self.training)


# What PyTorch raises where an operation cannot run with the change: it is then no explanation.
_IMPOSSIBLE = (RuntimeError, ValueError, IndexError)
