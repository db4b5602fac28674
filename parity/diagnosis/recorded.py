"""Both programs of a pair as they ran, operation by operation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import torch

from parity.checks.tolerance import bound
from parity.sides import flax_side
from parity.sides.calls import widened
from parity.sides.rounding import moved
from parity.sides.runs import Runs
from parity.trace.jax_program import JaxProgram
from parity.trace.match import Index
from parity.trace.torch_program import Program, record
from torch_ref.harness import passes


@dataclass(frozen=True, eq=False)
class Recorded:
    """A run of each side in float64 on the first input."""

    program: Program  # PyTorch's
    jax_program: JaxProgram
    index: Index  # the values of JAX's run
    outputs: Sequence[Any]  # JAX's
    state: Mapping[str, np.ndarray]  # JAX's statistics after the run, by native name


def recorded(runs: Runs, training: bool) -> Recorded:
    """Return both programs in one mode; those in eval mode are kept for who asks next."""
    if training:
        return _recorded(runs, training)
    return runs.once("recorded", lambda: _recorded(runs, training))


def _recorded(runs: Runs, training: bool) -> Recorded:
    module = runs.torch_module("float64")
    if training:
        passes.train_mode(module)
    else:
        module.eval()
    wide = widened(runs.inputs[0], "float64")
    program = record(module, *runs.frame.tensors(wide, torch.float64))
    with flax_side.precision("float64"):
        jax_program = flax_side.program(
            runs.jax_module("float64"), wide, "train" if training else "eval"
        )
        values, (output, state) = jax_program.values(stepwise=runs.stepwise)
    if runs.limit("output", 0, training) > bound("float64", "output"):
        program.drifts = _drifts(program, np.random.default_rng(runs.seed))
    return Recorded(program, jax_program, Index(values), jax.tree.leaves(output), state)


def _drifts(program: Program, random: np.random.Generator) -> dict[int, float]:
    """Return how far each tensor of the program moves where rounding moves the parameters."""
    values = list(program.values)
    for slot in program.parameters.values():
        if values[slot].is_floating_point():
            values[slot] = moved(values[slot], random)
    off = program.replay({}, values)
    return {
        slot: float((off[slot] - value).abs().max())
        for slot, value in enumerate(program.values)
        if value.is_floating_point() and value.numel()
    }
