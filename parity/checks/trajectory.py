# pyright: basic
"""The same optimizer from the same start on the same batches: optax against torch.optim."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import optax
import torch

from parity.checks import measure
from parity.checks.tolerance import bound
from parity.report.rows import Row
from parity.sides import flax_side
from parity.sides.runs import Runs
from parity.sides.training import Batches, Optimizer, flax_steps, torch_steps

STEPS = 20

OPTIMIZERS: tuple[Optimizer, ...] = (
    Optimizer(
        "SGD",
        partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-4),
        optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.05, momentum=0.9)),
    ),
    Optimizer(
        "AdamW",
        partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05),
        optax.adamw(1e-3, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.05),
    ),
    Optimizer(
        "RMSprop",
        partial(torch.optim.RMSprop, lr=1e-3, alpha=0.9, eps=1e-3, momentum=0.9),
        optax.rmsprop(1e-3, decay=0.9, eps=1e-3, eps_in_sqrt=False, momentum=0.9),
    ),
)


def check_trajectory(runs: Runs) -> Iterator[Row]:
    """Train both sides for `STEPS` steps in float64; compare losses, parameters, statistics.

    Training may be chaotic, as that of a deep network on two small images is: then rounding alone
    leads PyTorch's own run elsewhere, and the steps before it does are compared.
    """
    limit = bound("float64", "trajectory")
    inputs = range(len(runs.inputs))
    batches = [(runs.inputs[i], runs.target(i)) for i in inputs] * STEPS
    if next(runs.pair.torch_module.parameters(), None) is None:
        yield Row("trajectory", "", 0, limit, None, "no parameters")
        return
    if any(parameter.is_complex() for parameter in runs.pair.torch_module.parameters()):
        text = "optax and torch.optim step complex numbers otherwise"
        yield Row("trajectory", "", 0, limit, None, text)
        return
    if runs.pair.added:
        text = "JAX has one parameter for a sum of PyTorch's, which trains otherwise"
        yield Row("trajectory", "", 0, limit, None, text)
        return
    for optimizer in OPTIMIZERS:
        yield from _judged(runs, optimizer, batches[:STEPS])


@dataclass(frozen=True)
class _Apart:
    """How far the two sides are apart after some steps."""

    steps: int
    losses: tuple[float, float]  # PyTorch's first and last
    loss: float  # the error of all losses so far
    worst: str  # the parameter or statistic that is farthest off
    error: float  # its error

    def within(self, limit: float) -> bool:
        """Return whether both errors are, NaN never: a run may leave all numbers."""
        return self.loss <= limit and self.error <= limit


def _judged(runs: Runs, optimizer: Optimizer, batches: Batches) -> list[Row]:
    limit, text = bound("float64", "trajectory"), ""
    apart: list[_Apart] = []
    with flax_side.precision("float64"):
        for each in _both(runs, optimizer, batches):
            apart.append(each)
            if not each.within(limit):
                break
    if not apart[-1].within(limit):
        drifts = list(_drifts(runs, optimizer, batches[: apart[-1].steps]))
        apart = apart[: len(drifts)]
        limit = max(limit, min(drifts[-1], bound("float64", "deepest")))
    last = apart[-1]
    if last.steps < len(batches) and last.within(limit):
        text = ", after which rounding alone leads PyTorch's own run elsewhere"
    text = f"{last.losses[0]:.3g} to {last.losses[1]:.3g} in {last.steps} steps{text}"
    label = f"{optimizer.name}: {last.worst} after {last.steps} steps"
    return [
        Row.judged("trajectory", f"{optimizer.name}: loss", last.loss, limit, text),
        Row.judged("trajectory", label, last.error, limit),
    ]


def _both(runs: Runs, optimizer: Optimizer, batches: Batches) -> Iterator[_Apart]:
    """Train both sides, and yield how far they are apart after each step that is compared."""
    theirs: list[float] = []
    ours: list[float] = []
    # JAX's side first: it runs while PyTorch's does.
    both = zip(
        flax_steps(runs, optimizer, batches), torch_steps(runs, optimizer, batches), strict=True
    )
    for (our_loss, our_state), (their_loss, their_state) in both:
        theirs.append(their_loss)
        done = OPTIMIZERS.index(optimizer) + len(theirs) / len(batches)
        runs.on_step(f"{optimizer.name}, step {len(theirs)}", done / len(OPTIMIZERS))
        ours.append(float(our_loss))
        if _is_compared(len(theirs), len(batches)):
            errors = _errors(runs.pair.native(their_state()), our_state())
            worst = max(errors, key=lambda name: errors[name])
            loss = measure.scaled_error(np.array(ours), np.array(theirs))
            yield _Apart(len(theirs), (theirs[0], theirs[-1]), loss, worst, errors[worst])


def _drifts(runs: Runs, optimizer: Optimizer, batches: Batches) -> Iterator[float]:
    """Yield how far PyTorch's own run, from a start that is rounded, is from where it was.

    It ends before that is too far to tell anything; the first step always tells.
    """
    both = (torch_steps(runs, optimizer, batches, rounded) for rounded in (False, True))
    for steps, ((_, truth), (_, other)) in enumerate(zip(*both, strict=True), 1):
        if _is_compared(steps, len(batches)):
            state = truth()
            drift = max(_errors(state, other()).values())
            finite = all(np.isfinite(value).all() for value in state.values())
            if steps > 1 and not (finite and drift <= bound("float64", "deepest")):
                return
            yield drift


def _is_compared(steps: int, last: int) -> bool:
    """Return whether it is the last step or a power of two, as what differs soon doubles."""
    return steps == last or steps & (steps - 1) == 0


def _errors(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray]) -> dict[str, float]:
    return {n: measure.scaled_error(b, a) for n, a, b in measure.paired(theirs, ours)}
