"""How far apart two runs in float64 may be: as far as rounding alone leads PyTorch's own.

One run in float32 shows how a network amplifies rounding, but may be lucky. Where gates stand
fully open or shut but for a few, the errors that go through those are all there is: ten times as
large in one run as in another. So where the two sides are further apart than that run tells,
PyTorch's own runs from rounded parameters are asked as well.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from parity.checks import measure
from parity.checks.tolerance import bound, conditioned

if TYPE_CHECKING:
    from parity.sides.runs import Runs

Named = Mapping[str, np.ndarray]
_KINDS = {"output": "outputs", "gradient": "gradients", "statistic": "state"}


def limit(runs: "Runs", quantity: str, i: int, training: bool) -> float:
    """Return how far outputs, gradients or statistics of float64 runs may be apart.

    Args:
        runs: the pair.
        quantity: ``"output"``, ``"gradient"`` or ``"statistic"``.
        i: the number of the input.
        training: whether in train mode, as where gradients or statistics are asked for.
    """
    kind = _KINDS[quantity]
    make = runs.torch_step if training else runs.torch_forward
    narrow, wide = (getattr(make(dtype, i), kind) for dtype in ("float32", "float64"))
    judged = {"": wide[""]} if quantity == "output" else wide
    scales = {n: measure.layer_scale(n, wide) for n in wide if quantity == "gradient"}
    errors = [measure.rms_error(narrow[n], value, scales.get(n)) for n, value in judged.items()]
    usual = conditioned(quantity, max((e for e in errors if np.isfinite(e)), default=0.0))
    if quantity == "gradient":
        _, ours = runs.train_step("float64", i)
    else:
        _, ours = runs.trained(i) if training else runs.forward("float64", i)
    if _apart(wide, getattr(ours, kind), scales) <= usual:
        return usual
    drifts = [_apart(judged, getattr(run, kind), scales) for run in runs.from_rounded(i, training)]
    return max(usual, min(max(drifts), bound("float64", "deepest")))


def drift(runs: "Runs", i: int, training: bool) -> float:
    """Return how far rounding alone leads PyTorch's output, however far that is."""
    wide = (runs.torch_step if training else runs.torch_forward)("float64", i).outputs
    own = {"": wide[""]}
    return max(_apart(own, run.outputs, {}) for run in runs.from_rounded(i, training))


def _apart(truth: Named, other: Named, scales: Mapping[str, float]) -> float:
    """Return how far apart what both have is where it is furthest."""
    both = measure.paired(truth, other)
    errors = (measure.scaled_error(value, true, scales.get(n)) for n, true, value in both)
    return max(errors, default=0.0)
