"""How much there is to compute and to move, whoever does it."""

from collections.abc import Iterator
from math import prod
from typing import Any

import jax
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from flaxblocks.bench.subjects import subject
from flaxblocks.bench.task import Task
from flaxblocks.flops import multiply_adds
from flaxblocks.ops import plain_convolution

FORWARD_PASSES = {"infer": 1, "train": 3}
"""A backward pass is two convolutions, each as large as the forward one."""

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def multiply_adds_of(task: Task) -> int:
    """Return the multiply-adds of a task's convolutions and matrix products."""
    return FORWARD_PASSES[task.mode] * multiply_adds(*_forward(task))


def moved_by(task: Task) -> int:
    """Return the bytes that convolutions and matrix products must read and write.

    Each reads its two operands once and writes its result once. What is done to single values,
    such as activations and normalisations, is taken to be done on the way.
    """
    function, *arguments = _forward(task)
    with plain_convolution():
        jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    numbers = sum(
        prod(_shape(variable))
        for equation in _contractions(jaxpr)
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


def _contractions(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("conv_general_dilated", "dot_general"):
            yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(value):
                yield from _contractions(getattr(value, "jaxpr", value))


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)
