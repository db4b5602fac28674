# pyright: basic
"""The same optimizer from the same start on the same batches: optax against torch.optim."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optax
import torch
from flax import nnx
from torch import nn

from flaxblocks.weights import state_dict
from flaxblocks.weights.entries import entries
from parity.checks import measure
from parity.checks.tolerance import bound
from parity.report.rows import Row
from parity.sides import flax_side, torch_side
from parity.sides.calls import Input, outputs_of, widened
from parity.sides.runs import Runs
from torch_ref.harness import passes
from torch_ref.harness.exact_gradients import ExactGradients
from torch_ref.harness.no_dropout import NoDropout

STEPS = 20


@dataclass(frozen=True)
class Optimizer:
    """One optimizer in both libraries."""

    name: str  # what the report calls it
    make_torch: Callable[..., torch.optim.Optimizer]  # makes it from PyTorch's parameters
    optax: optax.GradientTransformation  # the same in optax


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
        rows = _judged(runs, optimizer, batches[:STEPS])
        if not all(row.ok for row in rows):
            steps = _steps_that_tell(runs, optimizer, batches[:STEPS])
            rows = rows if steps == STEPS else _judged(runs, optimizer, batches[:steps])
        yield from rows


Batches = list[tuple[Input, dict[str, np.ndarray]]]


def _judged(runs: Runs, optimizer: Optimizer, batches: Batches) -> list[Row]:
    limit, steps = bound("float64", "trajectory"), len(batches)
    their_losses, theirs = _train_torch(runs, optimizer, batches)
    our_losses, ours = _train_flax(runs, optimizer, batches)
    error = measure.scaled_error(our_losses, their_losses)
    detail = f"{their_losses[0]:.3g} to {their_losses[-1]:.3g} in {steps} steps"
    if steps < STEPS:
        detail += ", after which rounding alone leads PyTorch's own run elsewhere"
    errors = {n: measure.scaled_error(b, a) for n, a, b in measure.paired(theirs, ours)}
    worst = max(errors, key=lambda name: errors[name])
    label = f"{optimizer.name}: {worst} after {steps} steps"
    return [
        Row.judged("trajectory", f"{optimizer.name}: loss", error, limit, detail),
        Row.judged("trajectory", label, errors[worst], limit),
    ]


def _steps_that_tell(runs: Runs, optimizer: Optimizer, batches: Batches) -> int:
    """Return after how many steps PyTorch's own run, from a start that is rounded, is where it was.

    The first step always tells.
    """
    limit, steps = bound("float64", "trajectory"), 0
    both = (_torch_steps(runs, optimizer, batches, rounded) for rounded in (False, True))
    for (_, truth), (_, other) in zip(*both, strict=True):
        states = passes.state_of(truth), passes.state_of(other)
        if any(measure.scaled_error(b, a) > limit for _, a, b in measure.paired(*states)):
            break
        steps += 1
    return max(steps, 1)


def _train_torch(
    runs: Runs, optimizer: Optimizer, batches: Batches
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    after = list(_torch_steps(runs, optimizer, batches))
    losses = np.array([loss for loss, _ in after])
    return losses, runs.pair.native(passes.state_of(after[-1][1]))


def _torch_steps(
    runs: Runs, optimizer: Optimizer, batches: Batches, rounded: bool = False
) -> Iterator[tuple[float, nn.Module]]:
    """Train, and yield the loss of each step and the module after it, always the same one."""
    module = runs.torch_module("float64")
    if rounded:
        _round(module, np.random.default_rng(runs.seed))
    passes.train_mode(module)
    stepper = optimizer.make_torch(module.parameters())
    for x, target in batches:
        stepper.zero_grad()
        with ExactGradients(), NoDropout():
            args, kwargs = runs.frame.tensors(x, torch.float64)
            results = outputs_of(module(*args, **kwargs))
            loss = torch_side.loss_of(results, target, runs.frame)
        loss.backward()
        stepper.step()
        yield loss.item(), module


@torch.no_grad()
def _round(module: nn.Module, rng: np.random.Generator) -> None:
    """Move every parameter by what the rounding of a run may come to, up or down, in place."""
    share = bound("float64", "depth") * 2.0**-52
    for parameter in module.parameters():
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], tuple(parameter.shape)))
        parameter.mul_(1 + share * signs.to(parameter.device))


def _train_flax(
    runs: Runs, optimizer: Optimizer, batches: Batches
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    with flax_side.precision("float64"):
        module = runs.jax_module("float64")
        flax_side.switch(module, runs.pair.has_modes)
        graphdef, params, stats, rest = nnx.split(module, nnx.Param, nnx.BatchStat, ...)
        # As one vector: every optimizer here goes number by number, and compiles far sooner.
        rule = optax.flatten(optimizer.optax)
        opt_state = rule.init(params)
        update = flax_side.compiled_float64(partial(_update, rule))
        step = flax_side.LOSS_AND_GRADIENTS[runs.pair.has_modes]["float64"]
        losses = []
        for x, target in batches:
            arrays = widened(x, "float64"), widened(target, "float64")
            loss, stats, gradients, _ = step(
                graphdef, params, nnx.merge_state(stats, rest), *arrays
            )
            params, opt_state = update(params, opt_state, gradients[0])
            losses.append(float(loss))
        after = nnx.merge(graphdef, params, stats, rest)
        held = {name for name, entry in entries(after).items() if entry.variable is not None}
        return np.array(losses), {n: v for n, v in state_dict(after).items() if n in held}


def _update(rule: optax.GradientTransformation, params: Any, opt_state: Any, gradients: Any) -> Any:
    updates, opt_state = rule.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state
