"""How the error grows from layer to layer, for plots."""

from collections.abc import Sequence

from parity.checks import measure
from parity.sides.runs import Runs


def layer_errors(runs: Runs, checks: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return each layer's errors in eval mode on the first input, in the order of computation.

    Fractions of the layer's scale: ``"float64"``, the largest difference between the two sides;
    ``"float32"`` and ``"torch float32"``, each side's root-mean-square error against PyTorch's
    float64 result. Empty where `checks` did not ask for both precisions.
    """
    if not {"float64", "float32"} <= set(checks):
        return {}
    (truth, wide), (theirs, ours) = runs.forward("float64", 0), runs.forward("float32", 0)
    return {
        path: {
            "float64": measure.scaled_error(wide.outputs[path], value),
            "float32": measure.rms_error(result, value),
            "torch float32": measure.rms_error(theirs.outputs[path], value),
        }
        for path, value, result in measure.paired(truth.outputs, ours.outputs)
        if path not in runs.apart(0)
    }
