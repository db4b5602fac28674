"""Which arrays of a program are rounded to a grid, and which operations are done in integers.

What goes into a convolution or a product with a matrix is, and what comes out of it; sums,
products and concatenations of such arrays are too, and whatever only moves their elements keeps
their grid. Everything else, such as a layer normalization or a sigmoid, is done in float32.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import prod

import numpy as np

from flaxblocks.exporting.operation import Operation, Value
from flaxblocks.exporting.program import Program
from flaxblocks.exporting.quantization.integers import MOST_TERMS

JOINS = ("add", "add_any", "mul", "concatenate", "reduce_window_mean")
MOVES = ("reduce_window_max", "reshape", "squeeze", "transpose", "slice", "split", "rev")
CLIPS = ("relu", "relu6")


@dataclass
class Plan:
    """What is done with the values of a program, by their ids.

    Args:
        calibrated: the values whose least and greatest number make a grid, in order.
        same: for a value, the one whose grid it has too.
        linear: the operations that are done in integers.
        clips: the operations that rounding to a grid does by itself.
    """

    calibrated: list[Value] = field(default_factory=list[Value])
    same: dict[int, int] = field(default_factory=dict[int, int])
    linear: set[int] = field(default_factory=set[int])
    clips: set[int] = field(default_factory=set[int])

    def grid_of(self, value: int) -> int:
        """Return the id of the value that makes a value's grid; its own where none does."""
        while value in self.same:
            value = self.same[value]
        return value


def plan(program: Program) -> Plan:
    """Return what is to be done with the values of a program."""
    made = Plan(linear={id(step) for step in program.operations if _is_linear(step)})
    uses = Counter(id(operand) for step in program.operations for operand in step.operands)
    sources = {id(step.operands[0]) for step in program.operations if id(step) in made.linear}
    on_grid: set[int] = set()

    def calibrate(value: Value) -> None:
        on_grid.add(id(value))
        made.calibrated.append(value)

    if id(program.images) in sources:
        calibrate(program.images)
    for step in program.operations:
        values = [operand for operand in step.operands if isinstance(operand, Value)]
        known = all(id(value) in on_grid for value in values)
        for result in step.results:
            if result is program.result:
                continue
            if step.name in MOVES and known:
                made.same[id(result)] = id(values[0])
                on_grid.add(id(result))
            elif step.name in CLIPS and (known or id(result) in sources):
                calibrate(result)
                if uses[id(values[0])] == 1 and values[0] is not program.images:
                    _clip_by_rounding(made, step)
            elif id(step) in made.linear or id(result) in sources or (step.name in JOINS and known):
                calibrate(result)
    return made


def _clip_by_rounding(made: Plan, step: Operation) -> None:
    """Let what is clipped have the grid of the result, which has no number below 0."""
    (clipped,), (result,) = step.operands, step.results
    made.same[id(clipped)] = id(result)
    made.calibrated = [value for value in made.calibrated if value is not clipped]
    made.clips.add(id(step))


def _is_linear(step: Operation) -> bool:
    if step.name not in ("conv_general_dilated", "dot_general"):
        return False
    x, kernel = step.operands[:2]
    if not isinstance(x, Value) or not isinstance(kernel, np.ndarray):
        return False
    numbers = step.parameters["dimension_numbers"]
    if step.name == "dot_general":
        (x_axes, kernel_axes), batch = numbers
        across = (tuple(x_axes), tuple(kernel_axes), batch) == ((len(x.shape) - 1,), (0,), ((), ()))
        return across and kernel.ndim == 2 and len(x.shape) in (2, 4) and len(kernel) <= MOST_TERMS
    usual = numbers.lhs_spec == numbers.out_spec == (0, 3, 1, 2)
    usual &= set(step.parameters["lhs_dilation"]) == {1} == {step.parameters["batch_group_count"]}
    out_features = kernel.shape[numbers.rhs_spec[0]]
    return usual and prod(kernel.shape) // out_features <= MOST_TERMS
