"""The checks, one function each: from the runs of a pair to rows of a report."""

from collections.abc import Callable, Iterator

import numpy as np

from parity import flax_side, measure, torch_side, weights
from parity.report import Row
from parity.runs import Runs
from parity.tolerance import bound

DISTINCT = 1000  # a bitwise case with fewer different outputs per 4,096 proves little


def check_names(runs: Runs) -> Iterator[Row]:
    """Compare names, shapes and the number of parameters."""
    pair = runs.pair
    theirs, ours = pair.parameter_counts
    detail = f"{theirs:,} in PyTorch, {ours:,} in Flax"
    yield Row("names", "parameters", abs(theirs - ours), 0, theirs == ours, detail)
    for kind, names in (("only in PyTorch", pair.missing), ("only in Flax", pair.unexpected)):
        for name in names:
            yield Row("names", name, 1, 0, False, kind)


def check_bitwise(runs: Runs) -> Iterator[Row]:
    """Compare every intermediate bit for bit, on weights and inputs with which nothing rounds."""
    limit = bound("float32", "bitwise")
    for i, x in enumerate(runs.inputs):
        x = weights.dyadic_input(x)
        (theirs, ours), (wide, _) = _dyadic_runs(runs, x, "float32"), _dyadic_runs(runs, x)
        rounds = [p for p, v in wide.outputs.items() if not np.array_equal(v, theirs.outputs[p])]
        if rounds:
            detail = f"{_label(rounds[0])} is not exactly representable"
            yield Row("bitwise", f"input {i}", 0, limit, None, detail)
            return
        for path, truth in theirs.outputs.items():
            if path in ours.outputs:
                same = np.array_equal(ours.outputs[path], truth)
                yield Row(
                    "bitwise",
                    _label(path, i),
                    measure.scaled_error(ours.outputs[path], truth),
                    limit,
                    same,
                )
        output = theirs.outputs[""]
        found, needed = measure.distinct(output), DISTINCT * min(output.size, 4096) // 4096
        if found < needed:
            yield Row("bitwise", f"input {i}", needed - found, 0, False, "degenerate output")


def _dyadic_runs(runs: Runs, x: np.ndarray, dtype: str = "float64"):
    module = torch_side.with_dtype(runs.start, dtype)
    weights.make_dyadic(module, np.random.default_rng(runs.seed))
    state = runs.pair.native(torch_side.state_of(module))
    theirs = torch_side.forward(module, x)
    with flax_side.precision(dtype):
        ours = flax_side.with_weights(runs.pair.flax_module, state, dtype)
        return runs.renamed(theirs), flax_side.forward(ours, x, dtype)


def check_float64(runs: Runs) -> Iterator[Row]:
    """Compare the output and every intermediate in float64, in eval and in train mode."""
    limit = bound("float64", "output")
    for i in range(len(runs.inputs)):
        for mode, run in (("eval", runs.forward), ("train", runs.train_step)):
            theirs, ours = run("float64", i)
            for path, truth in theirs.outputs.items():
                if path in ours.outputs:
                    error = measure.scaled_error(ours.outputs[path], truth)
                    yield Row("float64", _label(path, i, mode), error, limit, error <= limit)


def check_float32(runs: Runs) -> Iterator[Row]:
    """Compare our float32 error with PyTorch's own, both against the float64 truth."""
    for i in range(len(runs.inputs)):
        (truth, _), (theirs, ours) = runs.forward("float64", i), runs.forward("float32", i)
        yield _beside("output", "", i, ours.outputs[""], theirs.outputs[""], truth.outputs[""])
        (truth, _), (theirs, ours) = runs.train_step("float64", i), runs.train_step("float32", i)
        for name, value in truth.gradients.items():
            scale = _gradient_scale(name, truth.gradients)
            yield _beside(
                "gradient", name, i, ours.gradients[name], theirs.gradients[name], value, scale
            )


def _beside(
    quantity: str,
    name: str,
    i: int,
    ours: np.ndarray,
    theirs: np.ndarray,
    truth: np.ndarray,
    scale: float | None = None,
) -> Row:
    floor = bound("float32", "floor")
    own = measure.rms_error(theirs, truth, scale)
    limit = max(own * bound("float32", quantity), floor)
    error = measure.rms_error(ours, truth, scale)
    detail = (
        f"at most {measure.ulps(ours, truth):.1f} ulp, PyTorch {measure.ulps(theirs, truth):.1f}"
    )
    label = _label(name, i, "gradient" if name else "output")
    return Row("float32", label, error, limit, error <= limit, detail, own)


def check_gradients(runs: Runs) -> Iterator[Row]:
    """Compare the gradient of every parameter and of the input in float64, in train mode."""
    limit = bound("float64", "gradient")
    for i in range(len(runs.inputs)):
        theirs, ours = runs.train_step("float64", i)
        for name, truth in theirs.gradients.items():
            scale = _gradient_scale(name, theirs.gradients)
            error = measure.scaled_error(ours.gradients[name], truth, scale)
            yield Row("gradients", _label(name, i), error, limit, error <= limit)


def check_statistics(runs: Runs) -> Iterator[Row]:
    """Compare the running statistics after a train-mode step in float64."""
    limit = bound("float64", "statistic")
    for i in range(len(runs.inputs)):
        theirs, ours = runs.train_step("float64", i)
        names = [name for name in theirs.state if name in ours.state]
        for name in names:
            error = measure.scaled_error(ours.state[name], theirs.state[name])
            yield Row("statistics", _label(name, i), error, limit, error <= limit)
        if not names:
            yield Row("statistics", "", 0, limit, None, "no running statistics")
            return


def _gradient_scale(name: str, gradients: dict[str, np.ndarray]) -> float:
    """Return the largest gradient in the parameter's layer.

    The bias of a convolution before a normalisation has gradient 0 but for rounding: its own
    magnitude says nothing about how well it is computed.
    """
    owner = name.rpartition(".")[0]
    return measure.scale_of(*(g for n, g in gradients.items() if n.rpartition(".")[0] == owner))


def _label(path: str, i: int | None = None, mode: str = "") -> str:
    where = path or "the whole module"
    notes = [mode] if mode else []
    notes += [] if i is None else [f"input {i}"]
    return f"{where} ({', '.join(notes)})" if notes else where


Check = Callable[[Runs], Iterator[Row]]
