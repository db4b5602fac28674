"""Names the first layer that diverges and, where it can, the likely cause."""

from collections.abc import Iterable, Iterator

import numpy as np
from torch import nn

from parity.checks import measure
from parity.checks.tolerance import bound
from parity.diagnosis import hypotheses
from parity.report.rows import Row
from parity.sides.flax_side import FlaxRun
from parity.sides.runs import Runs
from parity.sides.torch_side import TorchRun
from parity.sides.weights import BATCH_NORM

EXPLAINED = 0.02  # a cause is named when it explains all but this part of the difference
FLOAT32_LIKE = (1e-9, 1e-5)  # a float64 run off by this much was computed in float32


def causes(runs: Runs, rows: Iterable[Row]) -> tuple[str, ...]:
    """Return a sentence for each way in which the pair diverges; none where it does not."""
    failed = {row.check for row in rows if row.ok is False}
    if not failed:
        return ()
    found = list(_in_output(runs))
    if not found and failed & {"statistics", "trajectory"}:
        found = list(_in_statistics(runs))
    if not found and "float32" in failed:
        found = list(_in_float32(runs))
    return tuple(found) or ("no likely cause found",)


def _in_output(runs: Runs) -> Iterator[str]:
    """Look for the first layer whose float64 output differs, in eval mode, then in train mode."""
    limit = bound("float64", "output")
    for training, run in ((False, runs.forward), (True, runs.train_step)):
        theirs, ours = run("float64", 0)
        path = _first_diverging(theirs, ours, limit)
        if path is not None:
            mode = "train" if training else "eval"
            reason = _reason(runs, path, theirs, ours, "float64", training)
            yield f"first divergence at {path or 'the whole module'} in {mode} mode: {reason}"
            return


def _in_float32(runs: Runs) -> Iterator[str]:
    """Look for the first layer whose float32 result is worse than PyTorch's."""
    truth, _ = runs.forward("float64", 0)
    theirs, ours = runs.forward("float32", 0)
    for path, value, result in measure.paired(truth.outputs, ours.outputs):
        own = measure.rms_error(theirs.outputs[path], value)
        limit = max(own * bound("float32", "output"), bound("float32", "floor"))
        if measure.rms_error(result, value) > limit:
            reason = _reason(runs, path, theirs, ours, "float32", training=False)
            yield f"first loss of precision at {path or 'the whole module'}: {reason}"
            return


def _in_statistics(runs: Runs) -> Iterator[str]:
    """Look at how each normalization moved its statistics in a train-mode step."""
    theirs, ours = runs.train_step("float64", 0)
    layers = dict(runs.torch_module("float64").named_modules())
    for path in theirs.outputs:
        layer = _torch_layer(runs, layers, path)
        if isinstance(layer, BATCH_NORM):
            yield from _moved(layer, path, theirs.inputs[path], ours)


def _moved(layer: BATCH_NORM, path: str, x: np.ndarray, ours: FlaxRun) -> Iterator[str]:
    limit = bound("float64", "statistic")
    old_mean, old_var = map(hypotheses.array, (layer.running_mean, layer.running_var))
    mean, var = ours.state[f"{path}.running_mean"], ours.state[f"{path}.running_var"]
    axes = tuple(range(x.ndim - 1))
    pull = x.mean(axes) - old_mean
    rate = float(np.vdot(mean - old_mean, pull) / np.vdot(pull, pull))
    count = x.size // x.shape[-1]
    if layer.momentum is not None and abs(rate - layer.momentum) > limit:
        own = layer.momentum
        yield (
            f"momentum at {path}: Flax moves its statistics by {rate:.4g} (decay {1 - rate:.4g}), "
            f"PyTorch by {own:.4g} (decay {1 - own:.4g})"
        )
        return
    biased = (1 - rate) * old_var + rate * x.var(axes)
    if measure.scaled_error(var, biased) <= limit:
        yield (
            f"variance bias at {path}: Flax stores the biased variance, "
            f"PyTorch the unbiased one, larger by {count}/{count - 1}"
        )


def _first_diverging(theirs: TorchRun, ours: FlaxRun, limit: float) -> str | None:
    pairs = measure.paired(theirs.outputs, ours.outputs)
    return next((path for path, a, b in pairs if measure.scaled_error(b, a) > limit), None)


def _reason(
    runs: Runs, path: str, theirs: TorchRun, ours: FlaxRun, dtype: str, training: bool
) -> str:
    truth, value = theirs.outputs[path], ours.outputs[path]
    error = measure.rms_error(value, truth)
    for text, predicted in _predictions(runs, path, theirs, value, dtype, training):
        if measure.rms_error(value, predicted) <= min(EXPLAINED * error, EXPLAINED):
            return text
    if value.shape != truth.shape:
        return f"Flax gives shape {value.shape}, PyTorch {truth.shape}: padding, stride or kernel"
    if dtype == "float64" and FLOAT32_LIKE[0] < error < FLOAT32_LIKE[1]:
        return "reduced matmul precision: Flax computes in float32 (a `dtype` argument?)"
    return f"off by {error:.1e} of its scale, cause unknown"


def _predictions(
    runs: Runs, path: str, theirs: TorchRun, value: np.ndarray, dtype: str, training: bool
) -> Iterator[hypotheses.Prediction]:
    layers = dict(runs.torch_module(dtype).named_modules())
    layer = _torch_layer(runs, layers, path)
    if layer is None or path not in theirs.inputs:
        return
    x = theirs.inputs[path]
    if isinstance(layer, nn.Conv2d):
        order = list(theirs.outputs)
        earlier = {p: theirs.outputs[p] for p in order[: order.index(path)]}
        yield from hypotheses.of_convolution(layer, x, earlier)
    elif isinstance(layer, BATCH_NORM) and layer.affine and layer.track_running_stats:
        yield from hypotheses.of_batch_norm(layer, x, value, training)
    else:
        yield from _container_predictions(layer, path, theirs)


def _container_predictions(
    layer: nn.Module, path: str, theirs: TorchRun
) -> Iterator[hypotheses.Prediction]:
    """Yield other ways to join the layer's parts, where PyTorch's own way is recognized."""
    prefix = f"{path}." if path else ""
    parts = {"its input": theirs.inputs[path]} | {
        name: theirs.outputs[prefix + name]
        for name, _ in layer.named_children()
        if prefix + name in theirs.outputs
    }
    truth = theirs.outputs[path]
    joined = [found for found in hypotheses.of_activation(parts) if found[2].shape == truth.shape]
    limit = bound("float64", "output")
    own = next((j for j in joined if measure.scaled_error(j[2], truth) <= limit), None)
    if own is None:
        return
    for activation, parts_text, predicted in joined:
        if parts_text == own[1]:
            kind = "missing activation" if activation == "no activation" else "activation"
            yield f"{kind}: Flax applies {activation}, PyTorch {own[0]}", predicted
        elif activation == own[0]:
            yield f"residual: Flax takes {parts_text}, PyTorch {own[1]}", predicted


def _torch_layer(runs: Runs, layers: dict[str, nn.Module], path: str) -> nn.Module | None:
    """Return PyTorch's module with the native path."""
    back = {native: own for own, native in runs.pair.paths.items()}
    return layers.get(back.get(path, path))
