# pyright: reportUnknownMemberType=false
"""A traced function as a flat list of operations, for converters that have a rule for each.

Functions within are written out, what depends on no image is computed, and each operation knows
the layer that it stands in, or its line in the user's code where modules name no layers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import flax
import jax
import numpy as np

from flaxblocks._base.jax_internals import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from flaxblocks.exporting.activations import BY_NAME
from flaxblocks.exporting.operation import Operand, Operation, Value
from flaxblocks.exporting.simplify import simplified
from flaxblocks.exporting.slices import as_slices
from flaxblocks.exporting.softmax import with_softmax
from flaxblocks.ops.switch import convolution

WITHIN = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Where an operation has the function that it calls."""

LIBRARIES = (
    *(str(Path(str(module.__file__)).parent) for module in (jax, flax)),
    str(Path(__file__).parents[1]),
)
"""The folders whose lines are not a model's."""


@dataclass
class Program:
    """A function of images, step by step.

    Args:
        images: its argument.
        operations: its steps in order.
        result: what it returns.
    """

    images: Value
    operations: list[Operation] = field(default_factory=list[Operation])
    result: Operand | None = None


def program_of(function: Callable[[jax.Array], jax.Array], images: Any) -> Program:
    """Return the program of a function of images, with convolutions as `jax.lax` has them.

    Args:
        function: from images to an array.
        images: their shape, which may be symbolic, and dtype.
    """
    with convolution("lax"):
        jaxpr = jax.jit(function).trace(images).jaxpr
    (aval,) = jaxpr.in_avals
    program = Program(Value(aval.shape, aval.dtype))
    (program.result,) = _written_out(program, jaxpr.jaxpr, jaxpr.consts, [program.images], "", "")
    program.operations = with_softmax(program.operations)
    steps = [step for used in used_steps(program) for step in as_slices(used)]
    program.operations = simplified(steps, program.result)
    return program


def _written_out(
    program: Program, jaxpr: Jaxpr, constants: Any, operands: list[Any], layer: str, line: str
) -> list[Any]:
    """Append a function's operations to the program, and return its results.

    The line is that of the function's call: JAX keeps what it traced at an earlier one.
    """
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *operands], strict=True))

    def look_up(variable: Any) -> Any:
        if isinstance(variable, Literal):
            aval: Any = variable.aval
            return np.asarray(variable.val, aval.dtype)
        return known[variable]

    for equation in jaxpr.eqns:
        given = [look_up(variable) for variable in equation.invars]
        where = "/".join(filter(None, (layer, str(equation.source_info.name_stack))))
        results = _step(program, equation, given, where, line or line_of(equation))
        known |= zip(equation.outvars, results, strict=True)
    return [look_up(variable) for variable in jaxpr.outvars]


def _step(
    program: Program, equation: JaxprEqn, given: list[Any], layer: str, line: str
) -> list[Any]:
    named = equation.params.get("name", "")
    within = next((equation.params[name] for name in WITHIN if name in equation.params), None)
    if within is not None and named not in BY_NAME:
        inner = within if isinstance(within, ClosedJaxpr) else ClosedJaxpr(within, ())
        return _written_out(program, inner.jaxpr, inner.consts, given, layer, line)
    avals: list[Any] = [variable.aval for variable in equation.outvars]
    known_size = all(isinstance(size, int) for size in avals[0].shape)
    if known_size and not any(isinstance(operand, Value) for operand in given):
        with jax.ensure_compile_time_eval():  # it may be computed while another program is traced
            result = cast(Any, equation.primitive.bind(*given, **equation.params))
        return list(result) if equation.primitive.multiple_results else [result]
    name = equation.primitive.name if within is None else named
    results = tuple(Value(aval.shape, aval.dtype) for aval in avals)
    operands = tuple(o if isinstance(o, Value) else np.asarray(o) for o in given)
    primitive = equation.primitive if within is None else None
    where = layer or line
    step = Operation(name, operands, dict(equation.params), results, where, primitive)
    program.operations.append(step)
    return list(results)


def line_of(equation: Any) -> str:
    """Return the model's line that made an equation, ``"net.py:42"``; "" for none."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith(LIBRARIES):
            return f"{Path(frame.file_name).name}:{frame.line_num}"
    return ""


def used_steps(program: Program) -> list[Operation]:
    """Return the operations that the result depends on."""
    wanted = {id(program.result)}
    kept: list[Operation] = []
    for operation in reversed(program.operations):
        if wanted & {id(result) for result in operation.results}:
            wanted |= {id(operand) for operand in operation.operands}
            kept.append(operation)
    return kept[::-1]
