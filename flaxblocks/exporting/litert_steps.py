# pyright: reportUnknownMemberType=false
"""A program in the forms that LiteRT's converter reads.

Arrays in int8 are marked: a call of `MARK` returns its operand and says by its `KIND` as what type
of StableHLO the array is stored. JAX has no such types; `marked_types` puts them in place of the
calls, in the converter's own copy of the program.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from flaxblocks.exporting.evaluate import evaluate
from flaxblocks.exporting.operation import Operation, Value, taken_axis, unsupported
from flaxblocks.exporting.program import program_of
from flaxblocks.exporting.quantization.grid import Grid
from flaxblocks.exporting.quantization.plan import MOVES

MARK, KIND = "flaxblocks_stored_as", "kind"
MARKS = jax_export.DisabledSafetyCheck.custom_call(MARK)
"""Says to `jax.export` that the calls are meant."""

SIGNED = 128
"""Between the zeros of uint8, which grids have, and of int8, which LiteRT has."""

INTEGERS = ("integer_linear", "round_to_grid")
SAME_IN_INTEGERS = ("add", "mul", *MOVES)
"""The steps that LiteRT does in integers with the results of float32, between arrays on grids.

In a quantized program the others stand between barriers, and are done in float32 as JAX does them:
LiteRT's own sigmoid or concatenation of integers rounds otherwise.
"""

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


def marked_types(module: Any, ir: Any) -> None:
    """Put StableHLO's types in the place of the marks, in a module of the converter's.

    Args:
        module: the converter's module.
        ir: its package of MLIR.
    """
    for function in module.body.operations:
        for block in function.regions[0]:
            for call in list(block.operations):
                if call.operation.name != "stablehlo.custom_call":
                    continue
                if call.attributes["call_target_name"].value == MARK:
                    _stored(call, ir)


def _stored(call: Any, ir: Any) -> None:
    plain = call.results[0].type
    kind = ir.Type.parse(call.attributes["mhlo.backend_config"][KIND].value)
    with call.location, ir.InsertionPoint(call):
        stored = ir.RankedTensorType.get(ir.RankedTensorType(plain).shape, kind)
        (quantized,) = ir.Operation.create(
            "stablehlo.uniform_quantize", [stored], [call.operands[0]]
        ).results
        (restored,) = ir.Operation.create(
            "stablehlo.uniform_dequantize", [plain], [quantized]
        ).results
    call.results[0].replace_all_uses_with(restored)
    call.operation.erase()


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


def _marked(x: Any, kind: str) -> jax.Array:
    return jax.ffi.ffi_call(MARK, jax.ShapeDtypeStruct(x.shape, x.dtype))(x, **{KIND: kind})


def _on_grid(x: Any, grid: Grid) -> jax.Array:
    return _marked(x, f"!quant.uniform<i8:f32, {grid.scale:.9e}:{grid.zero - SIGNED}>")


def _round(operation: Operation, x: Any) -> jax.Array:
    return _on_grid(x, operation.parameters["grid"])


def _linear(operation: Operation, x: Any, kernel: Any, scales: Any, bias: Any) -> jax.Array:
    given: Any = operation.parameters
    window, source, result = given["window"], given["source"], given["result"]
    wide = np.asarray(kernel, np.float32)
    weights = wide * scales if window is None else wide.transpose(2, 3, 1, 0) * scales
    listed = ",".join(f"{scale:.9e}" for scale in scales)
    kind = f"!quant.uniform<i8<-127:127>:f32:{weights.ndim - 1}, {{{listed}}}>"
    stored = _marked(weights, kind)
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
    "gather": _taken,
    "mean": _added_up,
    "reduce_sum": _added_up,
    "integer_linear": _linear,
    "round_to_grid": _round,
}
