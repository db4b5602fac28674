"""The float32 check: our error against the float64 truth, beside PyTorch's own."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from parity.checks import measure
from parity.checks.tolerance import bound
from parity.report.rows import Row, label
from parity.sides.calls import inputs_of
from parity.sides.kinks import Kink, located
from parity.sides.rounding import FRACTION
from parity.sides.runs import Runs
from parity.sides.weights import BATCH_NORM

SUMS_PER_NORM = 4

Named = Mapping[str, np.ndarray]


def check_float32(runs: Runs) -> Iterator[Row]:
    """Compare both sides' float32 errors: of the output, and over all layers and gradients.

    A small array's error says more about luck than about accuracy. So layers, gradients and
    statistics are judged by the root mean square of their errors, and the worst is named. In eval
    mode the measure is PyTorch's own error or, where that is smaller, what float32 is expected to
    err at in whatever order it sums; see `parity.sides.rounding`.
    """
    term = bound("float32", "sum floor")
    norms = sum(isinstance(m, BATCH_NORM) for m in runs.pair.torch_module.modules())
    for i, x in enumerate(runs.inputs):
        sizes = [a.size // a.shape[-1] for a in inputs_of(x).values() if a.ndim]
        sums = term * np.sqrt(max(sizes, default=1) * (1 + SUMS_PER_NORM * norms))
        (truth, _), (theirs, ours) = runs.forward("float64", i), runs.forward("float32", i)
        shared = ours.outputs.keys() - runs.apart(i)
        layers = {path: v for path, v in truth.outputs.items() if path in shared}
        scales = {path: measure.scale_of(v) for path, v in layers.items()}
        usual = _usual_errors([run.outputs for run in runs.rounded(i)], layers, scales)
        floor = _floor(usual[""])
        yield _output_row(label("", i), ours.outputs[""], theirs.outputs[""], layers[""], floor)
        floor = _floor(_rms(usual))
        yield _pooled_row(
            label("all layers", i), ours.outputs, theirs.outputs, layers, scales, floor
        )
        (truth, wide), (theirs, ours) = runs.train_step("float64", i), runs.train_step("float32", i)
        limit = runs.limit("output", i, True)
        kinks = located(truth.kinks, truth.outputs, wide.outputs, limit)
        flips = [
            _flips(kinks, *pair)
            for pair in ((ours.outputs, wide.outputs), (theirs.outputs, truth.outputs))
        ]
        statistics = {k: v for k, v in truth.state.items() if k in ours.state and v.ndim}
        gradients = truth.gradients
        scales = {name: measure.layer_scale(name, gradients) for name in gradients}
        if any(flips):
            text = "units on the other side of a kink in float32: JAX {}, PyTorch {}".format(*flips)
            yield Row("float32", label("all gradients", i), 0, sums, None, text)
        else:
            draws = [step.gradients for step in runs.rounded_steps(i)]
            usual = _usual_errors(draws, gradients, scales)
            floor = max(sums * _amplification(usual), _floor(_rms(usual)))
            name = label("all gradients", i)
            yield _pooled_row(name, ours.gradients, theirs.gradients, gradients, scales, floor)
        if statistics:
            scales = {name: measure.scale_of(v) for name, v in statistics.items()}
            yield _pooled_row(
                label("all statistics", i), ours.state, theirs.state, statistics, scales, sums
            )


def _usual_errors(
    draws: Sequence[Named], truth: Named, scales: Mapping[str, float]
) -> Mapping[str, float]:
    """Return the root-mean-square error that float32 is expected to make in each array."""
    errors = {
        name: [measure.rms_error(draw[name], value, scales[name]) for draw in draws]
        for name, value in truth.items()
    }
    return {name: _rms(dict(enumerate(own))) / FRACTION for name, own in errors.items()}


def _amplification(usual: Mapping[str, float]) -> float:
    """Return how many times the error of most gradients the pooled one is expected to be.

    A gradient that is a small rest of large terms, such as that of a gate which hardly matters, is
    off by a larger part of itself. Rounding at random shows by how much.

    Args:
        usual: the error that is expected of each gradient.
    """
    most = float(np.median(list(usual.values())))
    return _rms({name: max(1.0, error / most) for name, error in usual.items()}) if most else 1.0


def _floor(usual: float) -> float:
    """Return what our error may be however small PyTorch's is."""
    return max(bound("float32", "output") * usual, bound("float32", "floor"))


def _flips(kinks: Sequence[Kink], narrow: Named, wide: Named) -> int:
    """Count the units that lie on different sides of an activation's kink in the two precisions.

    Their gradients differ by the jump, which says nothing about precision.
    """
    found = 0
    for kink in kinks:
        for path in [path for path in kink if path in narrow and path in wide][:1]:
            for number in kink[path]:
                sides = np.sign(narrow[path] - number), np.sign(wide[path] - number)
                found += int(np.count_nonzero(sides[0] != sides[1]))
    return found


def _output_row(
    name: str, ours: np.ndarray, theirs: np.ndarray, truth: np.ndarray, floor: float
) -> Row:
    error, own = measure.rms_error(ours, truth), measure.rms_error(theirs, truth)
    ulps = measure.ulps(ours, truth), measure.ulps(theirs, truth)
    detail = "at most {:.1f} ulp, PyTorch {:.1f}".format(*ulps)
    return _row(name, error, own, floor, _luck([truth]), detail)


def _pooled_row(
    name: str, ours: Named, theirs: Named, truth: Named, scales: Mapping[str, float], floor: float
) -> Row:
    errors, own_errors = (
        {key: measure.rms_error(side[key], v, scales[key]) for key, v in truth.items()}
        for side in (ours, theirs)
    )
    worst = max(errors, key=lambda key: errors[key])
    detail = f"worst of them {label(worst)}"
    return _row(name, _rms(errors), _rms(own_errors), floor, _luck(truth.values()), detail)


def _luck(arrays: Collection[np.ndarray]) -> float:
    """Return how many times its expectation the pooled error of so few values may be.

    Every array has the same weight, so one of few values counts as much as one of many.
    """
    values = len(arrays) ** 2 / sum(1 / array.size for array in arrays)
    return 1 + bound("float32", "luck") / np.sqrt(values)


def _row(name: str, error: float, own: float, floor: float, luck: float, detail: str) -> Row:
    limit = max(own * bound("float32", "output"), floor) * luck
    return Row.judged("float32", name, error, limit, detail, own)


def _rms(errors: Mapping[Any, float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(errors.values())))))
