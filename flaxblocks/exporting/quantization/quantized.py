# pyright: reportUnknownMemberType=false
"""A quantized network: its program, step by step, with grids and integers."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from flaxblocks.exporting.evaluate import evaluate
from flaxblocks.exporting.operation import Operand, Operation, Value
from flaxblocks.exporting.program import Program, program_of
from flaxblocks.exporting.quantization.grid import Grid
from flaxblocks.exporting.quantization.integers import (
    LARGEST_WEIGHT,
    Window,
    integer_linear,
    round_to_grid,
)
from flaxblocks.exporting.quantization.plan import Plan, plan

MEANS = ("mean", "reduce_window_mean")
WIDER = 1 + 2**-10
"""Of a mean's grid: on that of what it is the mean of, it would often be halfway, and which way it
is rounded then depends on the order of a sum in float32."""

Images = Callable[[jax.Array], jax.Array]
Ranges = tuple[tuple[float, float], ...]


class Quantized(nnx.Module):
    """A network in integers of 8 bits, simulated in JAX; `quantize` returns it.

    It only infers, and has no parameters: its weights are part of it. `export` takes it.

    Args:
        integers: what it computes.
        name: the network, as `create_model` calls it; None for any other module.
        in_features: channels of its images.
    """

    def __init__(self, integers: "Integers", name: str | None, in_features: int):
        self.integers = nnx.static(integers)
        self.name = nnx.static(name)
        self.in_features = nnx.static(in_features)

    def __call__(self, x: Float[Array | np.ndarray, "n h w c"]) -> Float[Array, "..."]:
        """Return what the exported network computes of images."""
        return self.integers.compiled(jnp.asarray(x))


class Integers:
    """A function of images, computed on grids.

    Args:
        function: the function in float32.
        steps: the names of its steps.
        ranges: least and greatest number of each value that the plan calibrates.
    """

    def __init__(self, function: Images, steps: tuple[str, ...], ranges: Ranges):
        self._function = function
        self._steps = steps
        self._grids = tuple(Grid.covering(*extent) for extent in ranges)

    @cached_property
    def compiled(self) -> Images:
        """The function, compiled once for each shape."""
        return jax.jit(self._computed)

    def _computed(self, x: jax.Array) -> jax.Array:
        program = program_of(self._function, jax.ShapeDtypeStruct(x.shape, x.dtype))
        if names_of(program) != self._steps:
            raise ValueError(f"`x` must be like the images of the calibration, got {x.shape}")
        planned = plan(program)
        made = zip(planned.calibrated, self._grids, strict=True)
        grids = {id(value): grid for value, grid in made}
        known = {id(program.images): x}
        if (grid := grids.get(id(program.images))) is not None:
            known[id(program.images)] = round_to_grid(x, grid)
        for step in program.operations:
            with jax.named_scope(step.layer):
                _take(step, planned, grids, known)
        return known[id(program.result)]


def names_of(program: Program) -> tuple[str, ...]:
    """Return the names of a program's steps, by which it is known again."""
    return tuple(step.name for step in program.operations)


def ranges_of(program: Program, x: jax.Array) -> jax.Array:
    """Return the least and greatest number of each value that the plan calibrates, ``(v, 2)``."""
    known, calibrated = {id(program.images): x}, plan(program).calibrated
    for step in program.operations:
        results = evaluate(step, [_operand(operand, known) for operand in step.operands])
        known |= {id(v): array for v, array in zip(step.results, results, strict=True)}
    means = {id(step.results[0]) for step in program.operations if step.name in MEANS}
    rows: list[jax.Array] = []
    for value in calibrated:
        low, high = known[id(value)].min(), known[id(value)].max()
        rows.append(jnp.stack([low, high]) * (WIDER if id(value) in means else 1))
    return jnp.stack(rows)


def _operand(operand: Operand, known: Mapping[int, jax.Array]) -> Any:
    return known[id(operand)] if isinstance(operand, Value) else operand


def _take(
    step: Operation, planned: Plan, grids: Mapping[int, Grid], known: dict[int, jax.Array]
) -> None:
    """Compute a step, in integers or rounded to grids where that is planned."""
    operands = [_operand(operand, known) for operand in step.operands]
    grid_of = {id(v): grids.get(planned.grid_of(id(v))) for v in (*step.operands, *step.results)}
    if id(step) in planned.clips:
        known[id(step.results[0])] = operands[0]
        return
    if id(step) in planned.linear:
        source, result = (grid_of[id(v)] for v in (step.operands[0], step.results[0]))
        assert source is not None  # the plan calibrates what goes into such a step
        known[id(step.results[0])] = _in_integers(step, operands, source, result)
        return
    for value, array in zip(step.results, evaluate(step, operands), strict=True):
        grid = grid_of[id(value)]
        known[id(value)] = array if grid is None else round_to_grid(array, grid)


def _in_integers(
    step: Operation, operands: list[Any], source: Grid, result: Grid | None
) -> jax.Array:
    x, weights, *rest = operands
    kernel, window = _kernel_and_window(step, np.asarray(weights, np.float32))
    across = 1 if window is None else 0
    axes = tuple(axis for axis in range(kernel.ndim) if axis != across)
    largest = np.abs(kernel).max(axes)
    scales = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(LARGEST_WEIGHT)
    integers = np.round(kernel / np.expand_dims(scales, axes)).astype(np.int8)
    bias = np.asarray(rest[0], np.float64) if rest else np.zeros(len(scales))
    whole = np.round(bias / (np.float64(source.scale) * scales))
    limits = np.iinfo(np.int32)
    offsets = np.clip(whole, limits.min, limits.max).astype(np.int32)
    return integer_linear(x, integers, scales, offsets, source=source, result=result, window=window)


def _kernel_and_window(step: Operation, kernel: np.ndarray) -> tuple[np.ndarray, Window | None]:
    """Return a step's kernel, OIHW or a matrix, and how it goes over images."""
    if step.name == "dot_general":
        if len(step.results[0].shape) == 2:
            return kernel, None
        return kernel.T[:, :, None, None], Window((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    given = step.parameters
    return kernel.transpose(given["dimension_numbers"].rhs_spec), Window(
        tuple(given["window_strides"]),
        tuple(given["padding"]),
        tuple(given["rhs_dilation"]),
        given["feature_group_count"],
    )
