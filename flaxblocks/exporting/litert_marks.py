# pyright: reportUnknownMemberType=false
"""Marks in a JAX program, in whose place LiteRT's converter gets what JAX cannot say.

Arrays in int8: a call of `MARK` returns its operand and says by its `KIND` as what type of
StableHLO the array is stored. Slices of channels: a call of `CHANNELS`. JAX writes those of an open
number of images in a form of which LiteRT makes a slice of sizes that are computed, which XNNPACK
does not take.
"""

from typing import Any

import jax
import numpy as np
from jax import export as jax_export

MARK, KIND = "flaxblocks_stored_as", "kind"
CHANNELS, FIRST = "flaxblocks_channels", "first"
MARKS = [jax_export.DisabledSafetyCheck.custom_call(name) for name in (MARK, CHANNELS)]
"""Say to `jax.export` that the calls are meant."""


def marked(x: Any, kind: str) -> jax.Array:
    """Return an array, marked as stored in a type of StableHLO's."""
    return jax.ffi.ffi_call(MARK, jax.ShapeDtypeStruct(x.shape, x.dtype))(x, **{KIND: kind})


def channels(x: Any, start: int, end: int) -> jax.Array:
    """Return ``x[..., start:end]``, marked."""
    cut = jax.ShapeDtypeStruct((*x.shape[:-1], end - start), x.dtype)
    return jax.ffi.ffi_call(CHANNELS, cut)(x, **{FIRST: str(start)})


def without_marks(module: Any, ir: Any) -> None:
    """Put StableHLO's types and LiteRT's slices in the place of the marks, in a module in place.

    Args:
        module: the converter's module.
        ir: its package of MLIR.
    """
    for function in module.body.operations:
        for block in function.regions[0]:
            for call in list(block.operations):
                if call.operation.name != "stablehlo.custom_call":
                    continue
                meant = MEANT.get(call.attributes["call_target_name"].value)
                if meant is None:
                    continue
                with call.location, ir.InsertionPoint(call):
                    made = meant(call, call.attributes["mhlo.backend_config"], ir)
                call.results[0].replace_all_uses_with(made)
                call.operation.erase()


def _stored(call: Any, given: Any, ir: Any) -> Any:
    plain = call.results[0].type
    kind = ir.Type.parse(given[KIND].value)
    stored = ir.RankedTensorType.get(ir.RankedTensorType(plain).shape, kind)
    quantized = _made("stablehlo.uniform_quantize", stored, [call.operands[0]], ir)
    return _made("stablehlo.uniform_dequantize", plain, [quantized], ir)


def _sliced(call: Any, given: Any, ir: Any) -> Any:
    cut = call.results[0].type
    shape = ir.RankedTensorType(cut).shape
    whole = len(shape) - 1
    starts, sizes = [0] * whole + [int(given[FIRST].value)], [-1] * whole + [shape[-1]]
    operands = [call.operands[0], *(_constant(numbers, ir) for numbers in (starts, sizes))]
    return _made("tfl.slice", cut, operands, ir)


def _constant(numbers: list[int], ir: Any) -> Any:
    value = ir.DenseElementsAttr.get(np.asarray(numbers, np.int32))
    return _made("stablehlo.constant", value.type, [], ir, value=value)


def _made(name: str, kind: Any, operands: list[Any], ir: Any, **attributes: Any) -> Any:
    (result,) = ir.Operation.create(name, [kind], operands, attributes=attributes).results
    return result


MEANT = {MARK: _stored, CHANNELS: _sliced}
