# pyright: reportUnknownMemberType=false
"""A program in the forms that LiteRT's converter reads, or marks for what StableHLO has not."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks.exporting.evaluate import evaluate
from flaxblocks.exporting.litert_marks import channels, marked
from flaxblocks.exporting.operation import Operation, Value, taken_axis, unsupported
from flaxblocks.exporting.program import program_of
from flaxblocks.exporting.quantization.grid import Grid
from flaxblocks.exporting.quantization.plan import MOVES

SIGNED = 128
"""Between the zeros of uint8, which grids have, and of int8, which LiteRT has."""

INTEGERS = ("integer_linear", "round_to_grid")
SAME_IN_INTEGERS = ("add", "mul", *MOVES)
"""The steps that LiteRT does in integers with the results of float32, between arrays on grids.

In a quantized program the others stand between barriers, and are done in float32 as JAX does them:
LiteRT's own sigmoid or concatenation of integers rounds otherwise.
"""

MOST_PRODUCTS = 512
"""That a convolution adds up at once."""

VECTOR = 8
"""The channels of a part are a multiple of it."""

Images = Callable[[jax.Array], jax.Array]


def as_litert(function: Images) -> Images:
    """Return a function of images that computes the same, in LiteRT's forms.

    It raises ValueError where a step has none, which names the layer.
    """

    def computed(x: jax.Array) -> jax.Array:
        program = program_of(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
        quantized = any(step.name in INTEGERS for step in program.operations)
        known: dict[int, Any] = {id(program.images): x}
        for step in program.operations:
            operands = [known[id(o)] if isinstance(o, Value) else o for o in step.operands]
            apart = quantized and not _is_same_in_integers(step)
            if apart:
                operands = [_apart(operand) for operand in operands]
            with jax.named_scope(step.layer):
                results = _results(step, operands)
            if apart:
                results = [_apart(result) for result in results]
            known |= {id(v): array for v, array in zip(step.results, results, strict=True)}
        return known[id(program.result)]

    return computed


def _results(step: Operation, operands: list[Any]) -> list[jax.Array]:
    form = FORMS.get(step.name)
    if form is None:
        return evaluate(step, operands)
    try:
        return [form(step, *operands)]
    except NotImplementedError as error:
        raise unsupported(step.name, step.layer) from error


def _is_same_in_integers(step: Operation) -> bool:
    if step.name in INTEGERS:
        return True
    values = all(isinstance(operand, Value) for operand in step.operands)
    return values and step.name in SAME_IN_INTEGERS


def _apart(x: Any) -> Any:
    return jax.lax.optimization_barrier(x) if isinstance(x, jax.Array) else x


def _on_grid(x: Any, grid: Grid) -> jax.Array:
    return marked(x, f"!quant.uniform<i8:f32, {grid.scale:.9e}:{grid.zero - SIGNED}>")


def _round(operation: Operation, x: Any) -> jax.Array:
    return _on_grid(x, operation.parameters["grid"])


def _linear(operation: Operation, x: Any, kernel: Any, scales: Any, bias: Any) -> jax.Array:
    given: Any = operation.parameters
    window, source, result = given["window"], given["source"], given["result"]
    wide = np.asarray(kernel, np.float32)
    weights = wide * scales if window is None else wide.transpose(2, 3, 1, 0) * scales
    listed = ",".join(f"{scale:.9e}" for scale in scales)
    kind = f"!quant.uniform<i8<-127:127>:f32:{weights.ndim - 1}, {{{listed}}}>"
    stored = marked(weights, kind)
    if window is None:
        y = jnp.dot(x, stored)
    else:
        y = jax.lax.conv_general_dilated(
            x,
            stored,
            window.strides,
            window.padding,
            rhs_dilation=window.dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=window.groups,
        )
    y = y + np.asarray(bias * (np.float64(source.scale) * scales), np.float32)
    return y if result is None else _on_grid(y, result)


def _taken(operation: Operation, x: Any, places: Any) -> jax.Array:
    """Return slices at known places, as a product with ones and zeros.

    The converter has no gather where the number of images is open. The product is exact, but for
    infinity and NaN.
    """
    axis = taken_axis(operation)
    chosen = jax.nn.one_hot(np.ravel(places), x.shape[axis], dtype=x.dtype)
    taken = jnp.tensordot(x, chosen, ((axis,), (1,)), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(taken, -1, axis)


def _convolved(operation: Operation, x: Any, kernel: Any, *bias: Any) -> jax.Array:
    """Return a convolution as a sum of convolutions of some of the channels each.

    XNNPACK adds up an output's products one after the other: 1500 round three times as much as
    PyTorch's.
    """
    given: Any = operation.parameters
    numbers, groups = given["dimension_numbers"], given["feature_group_count"]
    if not isinstance(kernel, np.ndarray) or numbers.lhs_spec[1] != x.ndim - 1:
        return evaluate(operation, [x, kernel, *bias])[0]
    weights = cast(Any, kernel)
    outputs, inputs = numbers.rhs_spec[:2]
    count, products = weights.shape[inputs], weights.size // weights.shape[outputs]
    if products <= MOST_PRODUCTS:
        return evaluate(operation, [x, weights, *bias])[0]
    size = ceil(count / ceil(products / MOST_PRODUCTS) / VECTOR) * VECTOR
    apart = x.reshape(*x.shape[:-1], groups, count) if groups > 1 else x
    parts: list[jax.Array] = []
    for start in range(0, count, size):
        end = min(start + size, count)
        part = channels(apart, start, end).reshape(*x.shape[:-1], groups * (end - start))
        some = weights.take(range(start, end), axis=inputs)
        parts += evaluate(operation, [part, some, *([] if parts else bias)])
    return sum(parts[1:], start=parts[0])


def _added_up(operation: Operation, x: Any) -> jax.Array:
    """Return a sum or a mean, an axis at a time.

    LiteRT adds numbers up one after the other, and the longer that goes the more is rounded: of
    64 x 64 pixels at once seven times as much.
    """
    for axis in sorted(operation.parameters["axes"], reverse=True):
        parameters = {**operation.parameters, "axes": (axis,)}
        (x,) = evaluate(replace(operation, parameters=parameters), [x])
    return x


FORMS: dict[str, Callable[..., jax.Array]] = {
    "conv_general_dilated": _convolved,
    "gather": _taken,
    "mean": _added_up,
    "reduce_sum": _added_up,
    "integer_linear": _linear,
    "round_to_grid": _round,
}
