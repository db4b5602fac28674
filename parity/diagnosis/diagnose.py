"""Says in which operation two modules diverge first, and why."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import jax
import numpy as np
import torch

from parity.checks import measure
from parity.checks.tolerance import bound
from parity.diagnosis import statistics
from parity.diagnosis.activations import ACTIVATION_MISTAKES, unexpected
from parity.diagnosis.agreement import Agreement, Found
from parity.diagnosis.convolutions import CONVOLUTIONS
from parity.diagnosis.labels import LABELS, reordered
from parity.diagnosis.normalizations import NORMALIZATIONS, eps_differs
from parity.diagnosis.pooling import POOLING
from parity.diagnosis.positions import POSITIONS
from parity.diagnosis.precision import is_rounded, rounding
from parity.diagnosis.recorded import recorded
from parity.diagnosis.resizing import resizing
from parity.diagnosis.search import Result, Search
from parity.diagnosis.sentences import Cause, merged, place
from parity.diagnosis.shapes import in_shapes
from parity.diagnosis.site import place_of
from parity.diagnosis.structure import STRUCTURE, unexpected_residual
from parity.diagnosis.tied import in_ties
from parity.report.rows import Row
from parity.sides import flax_side
from parity.sides.calls import outputs_of
from parity.sides.dropout import RATE
from parity.sides.limits import drift
from parity.sides.runs import Runs
from parity.trace.match import Index
from parity.trace.torch_program import Operation, Program, Run, Slot, mapped

HYPOTHESES = (
    *(NORMALIZATIONS + CONVOLUTIONS + ACTIVATION_MISTAKES + POOLING + STRUCTURE),
    *(resizing, *POSITIONS),
    unexpected,
    unexpected_residual,
)
"""What may be wrong with an operation, the likely first; each yields nothing for other kinds."""

Place = tuple[str, str, int]
DROWNED = 0.01  # of the output's scale: where rounding alone moves it so far, nothing is proven


def causes(runs: Runs, rows: Iterable[Row]) -> list[Cause]:
    """Return the ways in which the pair diverges, each once; none where it does not."""
    failed = {row.check for row in rows if row.ok is False}
    if not failed:
        return []
    if not runs.pair.lines_up:
        return merged([*in_shapes(runs.pair), *in_ties(runs)])
    found = [*in_ties(runs), *in_float64(runs), *in_dropout(runs)]
    if "float64" in failed:
        found += in_epsilons(runs, found)
    if not found and "float32" in failed:
        found = [*_in_float32(runs)]
    return merged(found)


def in_float64(runs: Runs) -> Iterator[Cause]:
    """Yield what differs in eval mode, then in train mode, then in the statistics."""
    repaired: dict[Place, Run] = {}
    known: set[tuple[str, str]] = set()
    lost: list[Cause] = []
    for training in (False, True):
        search = search_in(runs, training, repaired)
        result, precision = _find(runs, search)
        rounding = _is_rounding(runs, search, result)
        if rounding and not (training or precision or result.findings):
            lost = [_lost(runs, result, training)]
            continue  # to train mode, where norms keep the numbers small
        ending = [_lost(runs, result, training)] if rounding else [*_ending(runs, search, result)]
        for cause in [*precision, *_found(runs, search, result), *ending]:
            places = tuple(p for p in cause.places if (cause.text, p) not in known)
            known |= {(cause.text, place) for place in places}
            if places:
                yield replace(cause, places=places)
        repaired |= {
            place_of(search.program, search.program.operations[k]): run
            for k, run in search.runs.items()
            if k not in search.bound_to_run
        }
        if ending and not all(cause.text.startswith(LABELS) for cause in ending):
            theirs, ours = runs.output_shapes
            if theirs == ours:  # else no step can be made
                step = search if training else search_in(runs, True, repaired)
                yield from _moved(runs, step, partly=True)
            return
        if training:
            yield from _moved(runs, search)
            if not result.findings:
                yield from lost


def _is_rounding(runs: Runs, search: Search, result: Result) -> bool:
    """Return whether what is left may be rounding alone, though it is more than the limit."""
    if result.error <= search.limit:
        return False
    off = drift(runs, 0, search.training)
    return off >= min(result.error, DROWNED)


def _lost(runs: Runs, result: Result, training: bool) -> Cause:
    text = (
        f"off by {result.error:.1e} of the output's scale, cause unknown: rounding alone moves "
        f"PyTorch's own by {drift(runs, 0, training):.1e} with these weights"
    )
    mode = "train" if training else "eval"
    return Cause(text, ("the whole module",), mode, "compare with trained weights")


def in_dropout(runs: Runs) -> Iterator[Cause]:
    """Yield each rate of dropout that differs."""
    for found in runs.dropout_rates:
        if abs(found.theirs - found.ours) > RATE:
            path = runs.pair.paths.get(found.path, found.path)
            text = f"dropout rate: JAX drops {found.ours:.4g}, PyTorch {found.theirs:.4g}"
            yield Cause(text, (path or "the whole module",), "train", f"rate={found.theirs:.4g}")


def in_epsilons(runs: Runs, known: Sequence[Cause]) -> Iterator[Cause]:
    """Yield each eps that differs, where the numbers do not say so already."""
    for found in runs.epsilons:
        text, fix = eps_differs(found.theirs, found.ours)
        places = (name for cause in known if cause.text == text for name in cause.places)
        said = {name.partition(" (")[0] for name in places}
        where = found.native or "the whole module"
        if where not in said:
            yield Cause(text, (where,), "eval", fix)


def search_in(
    runs: Runs, training: bool, repaired: Mapping[Place, Run] = MappingProxyType({})
) -> Search:
    """Return a search in one mode, with what was found in the other repaired."""
    found = recorded(runs, training)
    program = found.program
    places = {place_of(program, operation): operation.index for operation in program.operations}
    return Search(
        program,
        found.jax_program,
        found.index,
        found.outputs,
        found.state,
        partial(_outputs, runs, program),
        training,
        runs.limit("output", 0, training),
        {places[place]: run for place, run in repaired.items() if place in places},
    )


def _outputs(runs: Runs, program: Program, values: Sequence[torch.Tensor]) -> list[np.ndarray]:
    def value_in(slot: Slot) -> torch.Tensor:
        return values[slot.index]

    results = outputs_of(mapped(program.output, value_in))
    return [runs.frame.output(name, results[name]) for name in sorted(results)]


def _find(runs: Runs, search: Search) -> tuple[Result, list[Cause]]:
    """Search among JAX's values, without its roundings where these explain a difference."""
    program = search.jax_program
    off = search.trials.error(search.program.replay(search.runs))
    if not program.lowered or off <= search.limit:
        return search.find(HYPOTHESES), []
    with flax_side.precision("float64"):
        values, (output, state) = program.values(
            exact=True, stepwise=runs.stepwise, plain=search.program.numbers
        )
    rounded, exact = search.index, Index(values)
    own = search.outputs, search.state
    search.use(exact, jax.tree.leaves(output), state)
    result = search.find(HYPOTHESES)
    current = search.program.replay(search.runs)
    agreements = [Agreement.of(search.program, index) for index in (rounded, exact)]
    before, after = (len(a.evidence(a.found(current))) for a in agreements)
    if after <= before:
        search.use(rounded, *own)
        more = search.find(HYPOTHESES)
        return replace(more, findings=[*result.findings, *more.findings]), []
    where = _first_rounded(search.program, agreements[1].found(current), rounded, exact)
    mode = "train" if search.training else "eval"
    places = (place(search.program, where, runs.pair.paths.get(where.path, where.path)),)
    return result, [Cause(rounding(program), places, mode, "compute in float32")]


def _first_rounded(program: Program, found: Found, rounded: Index, exact: Index) -> Operation:
    """Return the operation whose result is the first that JAX holds rounded."""
    held = sorted(
        (min(found[slot]), operation.index)
        for operation in program.operations
        for slot in operation.writes
        if found.get(slot)
    )
    numbers = (i for n, i in held if is_rounded(rounded.values[n], exact.values[n]))
    return program.operations[next(numbers, -1)]


def _named(runs: Runs, search: Search, operation: Operation) -> str:
    return place(search.program, operation, runs.pair.paths.get(operation.path, operation.path))


def _found(runs: Runs, search: Search, result: Result) -> Iterator[Cause]:
    mode = "train" if search.training else "eval"
    for finding in result.findings:
        places = tuple(_named(runs, search, operation) for operation in finding.operations)
        yield Cause(finding.change.cause, places, mode, finding.change.fix, finding.line)


def _ending(runs: Runs, search: Search, result: Result) -> Iterator[Cause]:
    """Yield what is still off with everything that was found repaired."""
    if result.error <= search.limit:
        return
    mode = "train" if search.training else "eval"
    theirs = search.read(search.program.replay(search.runs))
    clauses = [reordered(a, b, search.limit) for a, b in zip(theirs, search.outputs, strict=False)]
    if any(clauses):
        where = _named(runs, search, search.program.operations[-1])
        yield from (Cause(clause, (where,), mode) for clause in clauses if clause)
    else:
        far = f"off by {result.error:.1e} of the output's scale"
        text = f"{far if np.isfinite(result.error) else 'still differs in shape'}, cause unknown"
        if result.unknown is None:
            yield Cause(text, ("the whole module",), mode)
        else:
            text += f": JAX computes nothing that equals PyTorch's {result.unknown.kind}"
            yield Cause(text, (_named(runs, search, result.unknown),), mode)


def _moved(runs: Runs, search: Search, partly: bool = False) -> Iterator[Cause]:
    """Yield the statistics that end elsewhere; partly: of norms whose inputs agree."""
    values = search.program.replay(search.runs)
    theirs = {name: values[slot].numpy() for name, slot in search.program.state.items()}
    after = search.state
    ours = {name: after[native] for name, native in runs.pair.keys.items() if native in after}
    limit = runs.limit("statistic", 0, True)
    agrees = {
        *search.program.inputs,
        *(s for s, at in search.agreement.found(values).items() if at),
    }
    for operation, texts in statistics.moved(
        search.program, values, search.jax_program, theirs, ours, limit
    ):
        if partly and operation.reads[0] not in agrees:
            continue
        for text in texts or ("its running statistics differ after a step, cause unknown",):
            yield Cause(text, (_named(runs, search, operation),), "train")


def _in_float32(runs: Runs) -> Iterator[Cause]:
    """Look for the first layer whose float32 result is worse than PyTorch's."""
    truth, _ = runs.forward("float64", 0)
    theirs, ours = runs.forward("float32", 0)
    for path, value, result in measure.paired(truth.outputs, ours.outputs):
        own = measure.rms_error(theirs.outputs[path], value)
        limit = max(own * bound("float32", "output"), bound("float32", "floor"))
        if measure.rms_error(result, value) > limit:
            error = measure.rms_error(result, value)
            text = f"off by {error:.1e} in float32, PyTorch by {own:.1e}, cause unknown"
            yield Cause(text, (path or "the whole module",), "eval")
            return
