"""How much there is to compute and to move, whoever does it."""

from math import prod
from typing import Any

import jax
from flax import nnx

from flaxblocks.bench.tasks.subjects import subject
from flaxblocks.bench.tasks.task import BYTES, Task
from flaxblocks.flops import CONTRACTIONS, multiply_adds
from flaxblocks.ops import convolution
from flaxblocks.ops.jaxprs import equations

FORWARD_PASSES = {"infer": 1, "train": 3}
"""A backward pass is two convolutions, each as large as the forward one."""


def multiply_adds_of(task: Task) -> int:
    """Return the multiply-adds of a task's convolutions and matrix products."""
    return FORWARD_PASSES[task.mode] * multiply_adds(*_forward(task))


def moved_by(task: Task) -> int:
    """Return the bytes that convolutions and matrix products must read and write.

    Each reads its two operands once and writes its result once. What is done to single values,
    such as activations and normalisations, is taken to be done on the way.
    """
    function, *arguments = _forward(task)
    with convolution("lax"):
        jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    numbers = sum(
        prod(_shape(variable))
        for equation in equations(jaxpr)
        if equation.primitive.name in CONTRACTIONS
        for variable in (*equation.invars, *equation.outvars)
    )
    return FORWARD_PASSES[task.mode] * BYTES[task.dtype] * numbers


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _forward(task: Task) -> tuple[Any, Any, Any]:
    what = subject(task.subject)
    module = what.abstract()
    module.eval()
    graphdef, state = nnx.split(module)

    def forward(state: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state)(x)

    return forward, state, what.input(task.batch, task.size)
