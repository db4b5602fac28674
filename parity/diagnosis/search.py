"""Finds what JAX computes otherwise: a change of PyTorch's program that makes the two agree.

A suspected mistake is planted in PyTorch's program, which then runs again. It is a cause where the
operation, or one after it, then computes what JAX's program holds and held nothing of before.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from parity.diagnosis.agreement import Agreement, Found
from parity.diagnosis.site import Change, Hypothesis, Site
from parity.diagnosis.trials import Trials
from parity.trace.jax_program import JaxProgram
from parity.trace.match import Index
from parity.trace.operations import LAYOUT
from parity.trace.torch_program import Operation, Program, Run

SUSPECTS = 6  # first operations without a counterpart that are questioned
ROUNDS = 12  # different causes that are looked for
ROW = 4  # changes in a row, of which only the last shows


@dataclass(frozen=True)
class Repair:
    """A change that is tried, of one operation."""

    operation: Operation
    hypothesis: Hypothesis
    change: Change


@dataclass(frozen=True, eq=False)
class _Row:
    """Changes in a row that lead back to what JAX holds, and what may follow."""

    repairs: tuple[Repair, ...]
    values: list[torch.Tensor]  # with these changes
    found: Found
    suspects: tuple[Operation, ...]  # which read what the last one gives

    @property
    def place(self) -> tuple[int, frozenset[int]]:
        """Which operation leads back to what: how it does so is told by no output."""
        last = self.repairs[-1].operation
        return last.index, frozenset[int]().union(*(self.found.get(s, ()) for s in last.writes))


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
        self.use(self.index, self.outputs, self.state)

    def find(self, hypotheses: Sequence[Hypothesis], rounds: int = ROUNDS) -> Result:
        """Return the causes, at most so many, the first in the order of computation first."""
        findings: list[Finding] = []
        while True:
            values = self.program.replay(self.runs)
            found = self.agreement.found(values)
            error = self.trials.error(values)
            left = self.agreement.unexplained(values, found)
            if error <= self.limit or len(findings) == rounds:
                return Result(
                    findings, None if error <= self.limit else next(iter(left), None), error
                )
            suspects = self._suspects(left[:SUSPECTS] or self.program.operations[-1:])
            # Where all is explained but the outputs, only what makes those agree is a cause.
            best = self._best(suspects, values, found, hypotheses, 0 if left else sys.maxsize)
            repairs = () if best is None else (best,)
            if best is None and left:
                repairs = self._row(suspects, values, found, hypotheses)
            if not repairs:
                return Result(findings, next(iter(left), None), error)
            self.runs = self.runs | _runs_of(repairs)
            findings += [self._everywhere(repair, values) for repair in repairs]

    def use(
        self, index: Index, outputs: Sequence[np.ndarray], state: Mapping[str, np.ndarray]
    ) -> None:
        """Search among other values of JAX's program."""
        self.index, self.outputs, self.state = index, outputs, state
        self.agreement = Agreement.of(self.program, index)
        self.trials = Trials(self.program, self.agreement, outputs, self.read, self.limit)

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
        most: float,
    ) -> Repair | None:
        """Return the change that makes most agree; a whole that agrees ends the search."""
        best = None
        before = len(self.agreement.evidence(found))
        for repair in self._repairs(suspects, values, hypotheses):
            runs = self.runs | dict(repair.change.runs)
            gain = self.trials.gain(repair.operation, runs, values, found) - before
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

    def _row(
        self,
        suspects: Sequence[Operation],
        values: list[torch.Tensor],
        found: Found,
        hypotheses: Sequence[Hypothesis],
    ) -> tuple[Repair, ...]:
        """Return the fewest changes in a row that make agree what no single one does.

        With all but the last, an operation gives what JAX holds already, as without an activation:
        that is no evidence by itself. Each next one is of an operation that reads it.
        """
        rows: list[_Row] = [_Row((), values, found, tuple(suspects))]
        for _ in range(ROW):
            best, most = (), 0
            before = len(self.agreement.evidence(found))
            longer: dict[tuple[int, frozenset[int]], _Row] = {}
            for row in rows:
                for repair in self._repairs(row.suspects, row.values, hypotheses):
                    gain = self._gain_of((*row.repairs, repair), row) - before
                    if gain > most and self._needs((*row.repairs, repair), gain + before, found):
                        best, most = (*row.repairs, repair), gain
                        if gain == np.inf:
                            return best
                    for more in [] if gain > 0 else self._longer(row, repair):
                        longer.setdefault(more.place, more)
            if best:
                return best
            rows = list(longer.values())
        return ()

    def _gain_of(self, repairs: Sequence[Repair], row: "_Row") -> float:
        if not row.repairs:
            return 0  # a single one was tried before
        runs = self.runs | _runs_of(repairs)
        return self.trials.gain(repairs[-1].operation, runs, row.values, row.found)

    def _needs(self, repairs: Sequence[Repair], gain: float, found: Found) -> bool:
        """Return whether less agrees with any one of the changes left out."""
        start = self.program.replay(self.runs)
        for left_out in repairs:
            others = [repair for repair in repairs if repair is not left_out]
            first = min(others, key=lambda repair: repair.operation.index).operation
            last = max(others, key=lambda repair: repair.operation.index).operation
            values = self.trials.replayed(self.runs | _runs_of(others), start, first.index)
            if self.trials.gain(last, self.runs | _runs_of(others), values, found) >= gain:
                return False
        return True

    def _longer(self, row: "_Row", repair: Repair) -> list["_Row"]:
        """Return the row with one more change, where that leads back to what JAX holds."""
        runs = self.runs | _runs_of((*row.repairs, repair))
        changed = self.trials.leading_back(repair.operation, runs, row.values, row.found)
        if changed is None:
            return []
        followers = self._site(repair.operation, changed).followers()
        repairs, now = (*row.repairs, repair), self.agreement.found(changed)
        return [_Row(repairs, changed, now, tuple(followers))]

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
        if others and self.trials.error(alone_values) > self.limit:
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


def _runs_of(repairs: Sequence[Repair]) -> dict[int, Run]:
    return {k: run for repair in repairs for k, run in repair.change.runs.items()}
