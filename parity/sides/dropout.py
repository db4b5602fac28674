"""The rates of dropout, which both programs state; what is dropped is random on each side."""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from flaxblocks._base.jax_internals import Literal
from parity.trace.jax_program import JaxProgram
from parity.trace.torch_program import Operation, Program
from torch_ref.harness.no_dropout import DROPS

RATE = 1e-6  # how far rates may be apart: JAX keeps them in float32


@dataclass(frozen=True)
class Rates:
    """A place that drops, and how much each side does."""

    path: str
    theirs: float
    ours: float


def rates(program: Program, jax_program: JaxProgram) -> Iterator[Rates]:
    """Yield the rates in the order of computation, where both sides drop equally often.

    Args:
        program: PyTorch's run in train mode.
        jax_program: JAX's program with dropout switched on.
    """
    theirs = [(o.path, rate) for o in program.operations if (rate := _rate(program, o))]
    ours = list(_flax_rates(jax_program))
    if len(theirs) == len(ours):
        for (path, rate), own in zip(theirs, ours, strict=True):
            yield Rates(path, rate, own)


def _rate(program: Program, operation: Operation) -> float:
    arguments = program.arguments(operation, program.values)
    if operation.kind in DROPS:
        return float(arguments.get("p", 0.5)) if arguments.get("training", True) else 0.0
    if operation.kind == "bernoulli":
        kept = arguments.get("p", arguments.get("argument 1", 1.0))
        return 0.0 if isinstance(kept, torch.Tensor) else 1 - float(kept)
    return 0.0


def _flax_rates(program: JaxProgram) -> Iterator[float]:
    """Yield the rate of each random mask: what is kept is divided by the part that is."""
    known = _numbers(program)
    scales = [
        value ** (1 if equation.primitive.name == "div" else -1)
        for equation in program.equations
        if equation.primitive.name in ("div", "mul")
        for atom in equation.invars
        if (value := _number(atom, known))
    ]
    for equation in program.equations:
        if str(equation.params.get("name", "")).strip("_") != "bernoulli":
            continue
        for atom in equation.invars:
            drawn = _number(atom, known)
            if drawn is not None:
                dropped = any(np.isclose(1 - drawn, s) for s in scales)
                kept = any(np.isclose(drawn, s) for s in scales)
                yield round(drawn if dropped and not kept else 1 - drawn, 6)


_COMPUTED: dict[str, Callable[..., float]] = {
    "convert_element_type": float,
    "stop_gradient": float,
    "sub": operator.sub,
}
"""What may become of a rate before it is used, by JAX's primitive."""


def _numbers(program: JaxProgram) -> dict[Any, float]:
    """Return the numbers that the program computes from numbers that it holds."""
    known: dict[Any, float] = {}
    for equation in program.equations:
        function = _COMPUTED.get(equation.primitive.name)
        values = [_number(atom, known) for atom in equation.invars]
        if function is not None and None not in values:
            known[equation.outvars[0]] = function(*values)
    return known


def _number(atom: Any, known: Mapping[Any, float]) -> float | None:
    """Return the number that an input of an equation is, None where it is none."""
    if isinstance(atom, Literal):
        value: Any = atom.val
        return float(value) if np.ndim(value) == 0 else None
    return known.get(atom)
