"""The checks of meaning: names, and everything in float64."""

from collections.abc import Iterator

from parity.checks import measure
from parity.report.rows import Row, label
from parity.sides.dropout import RATE
from parity.sides.epsilons import EPS
from parity.sides.runs import Runs


def check_names(runs: Runs) -> Iterator[Row]:
    """Compare names and shapes of parameters, their number, and the shape of the output."""
    pair = runs.pair
    theirs, ours = pair.parameter_counts
    added = f"; {pair.added:,} are added to others" if pair.added else ""
    detail = f"{theirs:,} in PyTorch, {ours:,} in JAX{added}"
    yield Row.judged("names", "parameters", abs(theirs - pair.added - ours), 0, detail)
    for kind, names in (("only in PyTorch", pair.missing), ("only in JAX", pair.unexpected)):
        for name in names:
            yield Row.judged("names", name, 1, 0, kind)
    if pair.lines_up:
        their_shape, our_shape = runs.output_shapes
        detail = f"{their_shape} in PyTorch, {our_shape} in JAX"
        yield Row.judged("names", "output shape", their_shape != our_shape, 0, detail)
    if pair.lines_up and not pair.is_abstract:
        for found in runs.dropout_rates:
            where, off = label(pair.paths.get(found.path, found.path)), found.ours - found.theirs
            yield Row.judged("names", f"dropout rate of {where}", abs(off), RATE)


def check_float64(runs: Runs) -> Iterator[Row]:
    """Compare the output and every intermediate in float64, in eval and in train mode.

    Norms also say what they add to a variance, which may be too little to be seen in any output.
    """
    for i in range(len(runs.inputs)):
        for mode in ("eval", "train"):
            training = mode == "train"
            theirs, ours = runs.trained(i) if training else runs.forward("float64", i)
            limit = runs.limit("output", i, training)
            for path, truth, value in measure.paired(theirs.outputs, ours.outputs):
                error = measure.scaled_error(value, truth)
                where = label(path, i, mode)
                if error > limit and path in runs.apart(i):
                    yield Row("float64", where, error, limit, None, "only inside: the whole agrees")
                else:
                    yield Row.judged("float64", where, error, limit)
    for found in runs.epsilons:
        detail = f"{found.theirs} in PyTorch, {found.ours} in JAX"
        yield Row.judged("float64", f"eps of {label(found.native)}", found.off, EPS, detail)


def check_gradients(runs: Runs) -> Iterator[Row]:
    """Compare the gradient of every parameter and of the input in float64, in train mode."""
    for i in range(len(runs.inputs)):
        limit = runs.limit("gradient", i, True)
        theirs, ours = runs.train_step("float64", i)
        for name, truth in theirs.gradients.items():
            scale = measure.layer_scale(name, theirs.gradients)
            error = measure.scaled_error(ours.gradients[name], truth, scale)
            yield Row.judged("gradients", label(name, i), error, limit)


def check_statistics(runs: Runs) -> Iterator[Row]:
    """Compare the running statistics after a train-mode step in float64."""
    for i in range(len(runs.inputs)):
        limit = runs.limit("statistic", i, True)
        theirs, ours = runs.trained(i)
        pairs = list(measure.paired(theirs.state, ours.state))
        for name, truth, value in pairs:
            error = measure.scaled_error(value, truth)
            yield Row.judged("statistics", label(name, i), error, limit)
        if not pairs:
            yield Row("statistics", "", 0, limit, None, "no running statistics")
            return
