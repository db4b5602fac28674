# pyright: basic
"""Each side's training, step by step, with the same optimizer of its own library."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import torch
from flax import nnx
from torch import nn

from flaxblocks.weights import state_dict
from flaxblocks.weights.entries import entries
from parity.sides import flax_side, torch_side
from parity.sides.calls import Input, outputs_of, widened
from parity.sides.compiling import compiled_float64
from parity.sides.rounding import round_parameters
from parity.sides.runs import Runs
from torch_ref.harness import passes
from torch_ref.harness.exact_gradients import ExactGradients
from torch_ref.harness.no_dropout import NoDropout

Batches = Sequence[tuple[Input, dict[str, np.ndarray]]]
State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Optimizer:
    """One optimizer in both libraries."""

    name: str  # what the report calls it
    make_torch: Callable[..., torch.optim.Optimizer]  # makes it from PyTorch's parameters
    optax: optax.GradientTransformation  # the same in optax


def torch_steps(
    runs: Runs, optimizer: Optimizer, batches: Batches, rounded: bool = False
) -> Iterator[tuple[float, Callable[[], State]]]:
    """Train PyTorch's side in float64.

    Args:
        runs: the pair.
        optimizer: what it steps with.
        batches: an input and its targets for each step.
        rounded: whether to start from parameters that are moved by what rounding may come to.

    Yields:
        The loss of each step, and what gives parameters and buffers after it, under PyTorch's
        names: no copies, they are gone with the next step.
    """
    module = runs.torch_module("float64")
    if rounded:
        round_parameters(module, np.random.default_rng(runs.seed))
    passes.train_mode(module)
    stepper = optimizer.make_torch(module.parameters())
    for x, target in batches:
        stepper.zero_grad()
        with ExactGradients(), NoDropout():
            args, kwargs = runs.frame.tensors(x, torch.float64)
            results = outputs_of(module(*args, **kwargs))
            loss = torch_side.loss_of(results, target, runs.frame)
        loss.backward()
        for parameter in module.parameters():
            if parameter.grad is None and parameter.requires_grad:
                # Where a loss does not depend on it: optax decays it, PyTorch would leave it out.
                parameter.grad = torch.zeros_like(parameter)
        stepper.step()
        yield loss.item(), partial(_arrays, module)


def flax_steps(
    runs: Runs, optimizer: Optimizer, batches: Batches
) -> Iterator[tuple[jax.Array, Callable[[], State]]]:
    """Train JAX's side, under `flax_side.precision`; a step may still run when it is yielded.

    Yields:
        The loss of each step, and what gives parameters and statistics after it, under native
        names and in PyTorch's layout.
    """
    module, training = runs.jax_module("float64"), runs.pair.has_modes
    flax_side.switch(module, training)
    graphdef, params, stats, rest = nnx.split(module, nnx.Param, nnx.BatchStat, ...)
    # As one vector: every optimizer here goes number by number, and compiles far sooner.
    rule = optax.flatten(optimizer.optax)
    opt_state = rule.init(params)
    update = compiled_float64(partial(_update, rule))
    step = flax_side.LOSS_AND_GRADIENTS[training]["float64"]  # compiled for the gradients already
    for x, target in batches:
        arrays = widened(x, "float64"), widened(target, "float64")
        held = nnx.merge_state(stats, rest)
        loss, stats, gradients, _ = step(graphdef, params, held, *arrays)
        params, opt_state = update(params, opt_state, gradients[0])
        yield loss, partial(_held, graphdef, params, stats, rest)


def _update(rule: optax.GradientTransformation, params: Any, opt_state: Any, gradients: Any) -> Any:
    updates, opt_state = rule.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def _held(graphdef: Any, *states: Any) -> State:
    module = nnx.merge(graphdef, *states)
    held = {name for name, entry in entries(module).items() if entry.variable is not None}
    return {name: value for name, value in state_dict(module).items() if name in held}


def _arrays(module: nn.Module) -> State:
    return {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}
