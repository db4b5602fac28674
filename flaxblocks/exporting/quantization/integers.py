# pyright: reportUnknownMemberType=false
"""What a quantized network computes: rounding to a grid, and linear operations in integers.

Both are primitives, so that a converter finds them in the program with all that it must know.
The integers are ONNX Runtime's: 8 bits times 8 bits, added up in 32, then scaled in float32 and
rounded half to even. JAX has no fast convolution of integers on CPU, so products are added up in
float32, digit by digit of the input, few enough for every sum to be exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxblocks._base.jax_internals import Primitive, ShapedArray, apply_primitive, mlir
from flaxblocks.exporting.quantization.grid import Grid

BITS = 8
LARGEST_WEIGHT = 127
EXACT = 2**24
"""Up to here float32 has every integer."""

MOST_TERMS = EXACT // (2 * LARGEST_WEIGHT)
"""Products in a sum: with more, digits of one bit exceed `EXACT`, and the sum 32 bits."""

round_to_grid_p = Primitive("round_to_grid")
integer_linear_p = Primitive("integer_linear")


@dataclass(frozen=True)
class Window:
    """How a convolution of NHWC with OIHW goes over its images; see `jax.lax`."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


def round_to_grid(x: jax.Array, grid: Grid) -> jax.Array:
    """Return each value's nearest number of a grid."""
    return round_to_grid_p.bind(x, grid=grid)


def integer_linear(
    x: jax.Array,
    kernel: np.ndarray,
    scales: np.ndarray,
    bias: np.ndarray,
    *,
    source: Grid,
    result: Grid | None,
    window: Window | None,
) -> jax.Array:
    """Return a convolution or a product with a matrix, computed in integers.

    Args:
        x: numbers of the grid `source`, ``(n, h, w, c)``, or ``(n, c)`` where `window` is None.
        kernel: int8, ``(out, in, h, w)``, or ``(in, out)`` where `window` is None.
        scales: of each output's weights, float32.
        bias: int32, in steps of the source's scale times the output's.
        source: the grid of `x`.
        result: the grid that the result is rounded to; None leaves it as it is, in float32.
        window: of a convolution; None for a product with a matrix.
    """
    parameters = {"source": source, "result": result, "window": window}
    return integer_linear_p.bind(x, kernel, scales, bias, **parameters)


def _round(x: jax.Array, *, grid: Grid) -> jax.Array:
    return grid.values(grid.steps(x))


def _linear(
    x: jax.Array,
    kernel: jax.Array,
    scales: jax.Array,
    bias: jax.Array,
    *,
    source: Grid,
    result: Grid | None,
    window: Window | None,
) -> jax.Array:
    sums = _exact_sums(source.steps(x), kernel.astype(jnp.float32), window) + bias
    scale = np.float32(source.scale) * scales
    if result is None:
        return sums.astype(jnp.float32) * scale
    steps = sums.astype(jnp.float32) * (scale / np.float32(result.scale))
    return result.values(result.whole(steps))


def _exact_sums(steps: jax.Array, kernel: jax.Array, window: Window | None) -> jax.Array:
    """Return the sums of products as int32, added up digit by digit of the input."""
    terms = kernel.shape[0] if window is None else prod(kernel.shape[1:])
    bits = int(np.log2(EXACT // (LARGEST_WEIGHT * terms)))
    total: Any = 0
    for shift in range(0, BITS, bits):
        digit = jnp.floor(steps / 2**shift)
        if shift + bits < BITS:
            digit = digit % 2**bits
        total += jnp.round(_linear_map(digit, kernel, window)).astype(jnp.int32) * 2**shift
    return total


def _linear_map(x: jax.Array, kernel: jax.Array, window: Window | None) -> jax.Array:
    precision = jax.lax.Precision.HIGHEST
    if window is None:
        return jnp.dot(x, kernel, precision=precision)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window.strides,
        window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        feature_group_count=window.groups,
        precision=precision,
    )


def _define(primitive: Any, function: Callable[..., jax.Array]) -> None:
    """Say what a primitive of one result computes."""

    def abstract(*operands: ShapedArray, **parameters: Any) -> ShapedArray:
        result = jax.eval_shape(partial(function, **parameters), *operands)
        return ShapedArray(result.shape, result.dtype)

    primitive.def_abstract_eval(abstract)
    primitive.def_impl(partial(apply_primitive, primitive))
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))


_define(round_to_grid_p, _round)
_define(integer_linear_p, _linear)
