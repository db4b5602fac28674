"""A rule for each operation: what PyTorch computes for it."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from flaxblocks.exporting.einsum import equation
from flaxblocks.exporting.operation import Operation, Value, group_count, taken_axis

Tensor = Any
"""PyTorch's, which is imported where it is used."""

Rule = Callable[..., Any]

FUNCTIONS = {
    "add": "add",
    "add_any": "add",
    "sub": "sub",
    "mul": "mul",
    "div": "div",
    "max": "maximum",
    "min": "minimum",
    "pow": "pow",
    "relu": "nn.functional.relu",
    "relu6": "nn.functional.relu6",
    "hard_sigmoid": "nn.functional.hardsigmoid",
    "hard_swish": "nn.functional.hardswish",
    "gelu_exact": "nn.functional.gelu",
    "neg": "neg",
    "exp": "exp",
    "log": "log",
    "tanh": "tanh",
    "logistic": "sigmoid",
    "erf": "erf",
    "erfc": "erfc",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "square": "square",
    "abs": "abs",
    "sign": "sign",
    "floor": "floor",
    "ceil": "ceil",
    "eq": "eq",
    "gt": "gt",
    "ge": "ge",
    "lt": "lt",
    "le": "le",
    "and": "logical_and",
    "or": "logical_or",
    "not": "logical_not",
    "sin": "sin",
    "cos": "cos",
    "copy": "clone",
    "stop_gradient": "clone",
}
"""What PyTorch calls the operations on each element, within its package."""


def _sizes(value: Value) -> list[int]:
    """Return a shape; the one size that is open follows from the others."""
    return [size if isinstance(size, int) else -1 for size in value.shape]


def _images(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _back(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _convolution(operation: Operation, x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
    import torch.nn.functional as F

    given: Any = operation.parameters
    numbers, pads = given["dimension_numbers"], given["padding"]
    if numbers.lhs_spec != (0, 3, 1, 2) or numbers.out_spec != (0, 3, 1, 2):
        raise NotImplementedError
    if given["batch_group_count"] != 1 or set(given["lhs_dilation"]) != {1}:
        raise NotImplementedError
    images = _images(x)
    symmetric = all(low == high for low, high in pads)
    padding = tuple(low for low, _ in pads) if symmetric else 0
    if not symmetric:
        (top, bottom), (left, right) = pads
        images = F.pad(images, (left, right, top, bottom))
    groups = group_count(operation)
    steps, spread = given["window_strides"], given["rhs_dilation"]
    kernel = kernel.permute(numbers.rhs_spec)
    biased = bias[0] if bias else None
    return _back(F.conv2d(images, kernel, biased, steps, padding, spread, groups))


def _window(operation: Operation, x: Tensor) -> Tensor:
    import torch.nn.functional as F

    given = operation.parameters
    window, strides, padding = (
        given[name] for name in ("window_dimensions", "window_strides", "padding")
    )
    outer = (window[0], window[3], strides[0], strides[3], *padding[0], *padding[3])
    if len(window) != 4 or outer != (1, 1, 1, 1, 0, 0, 0, 0):
        raise NotImplementedError
    if {*given["base_dilation"], *given["window_dilation"]} != {1}:
        raise NotImplementedError
    (top, bottom), (left, right) = padding[1:3]
    largest = operation.name == "reduce_window_max"
    sides, edge = (left, right, top, bottom), float("-inf") if largest else 0.0
    images = F.pad(_images(x), sides, value=edge) if any(sides) else _images(x)
    if largest:
        return _back(F.max_pool2d(images, window[1:3], strides[1:3]))
    means = _back(F.avg_pool2d(images, window[1:3], strides[1:3]))
    return means * (window[1] * window[2]) if operation.name == "reduce_window_sum" else means


def _product(operation: Operation, x: Tensor, matrix: Tensor, *bias: Tensor) -> Tensor:
    import torch.nn.functional as F

    (x_axes, matrix_axes), batch = operation.parameters["dimension_numbers"]
    if batch != ((), ()) or tuple(x_axes) != (x.ndim - 1,) or matrix.ndim != 2:
        return _general_product(operation, x, matrix, *bias)
    weight = matrix.T if tuple(matrix_axes) == (0,) else matrix
    return F.linear(x, weight, *bias)


def _general_product(operation: Operation, x: Tensor, y: Tensor, *bias: Tensor) -> Tensor:
    import torch

    if bias:
        raise NotImplementedError
    return torch.einsum(equation(operation.parameters["dimension_numbers"], x.ndim, y.ndim), x, y)


def _broadcast(operation: Operation, x: Tensor, *_: Tensor) -> Tensor:
    """Add axes, and repeat those whose size is known; a reshape may follow."""
    (result,) = operation.results
    where = operation.parameters["broadcast_dimensions"]
    for axis in range(len(result.shape)):
        if axis not in where:
            x = x.unsqueeze(axis)
    return x.expand(_sizes(result))


def _slice(operation: Operation, x: Tensor) -> Tensor:
    given = operation.parameters
    strides: Sequence[int] = given["strides"] or (1,) * x.ndim
    rows = zip(given["start_indices"], given["limit_indices"], strides, strict=True)
    (source,) = operation.operands
    cuts = (
        slice(None) if (start, stop, step) == (0, size, 1) else slice(start, stop, step)
        for (start, stop, step), size in zip(rows, source.shape, strict=True)
    )
    return x[tuple(cuts)]


def _gather(operation: Operation, x: Tensor, places: Tensor) -> Tensor:
    return x.index_select(taken_axis(operation), places.ravel().long())


def _pad(operation: Operation, x: Tensor, _: Tensor) -> Tensor:
    import torch.nn.functional as F

    config, known = operation.parameters["padding_config"], operation.operands[1]
    # A number: of the tensor that it is in the program, torch.export does not know the value.
    if any(inner for _, _, inner in config) or not isinstance(known, np.ndarray):
        raise NotImplementedError
    sides = [side for low, high, _ in config[::-1] for side in (low, high)]
    return F.pad(x, sides, value=float(known))


def _reduced(method: str, operation: Operation, x: Tensor) -> Tensor:
    given = operation.parameters
    return getattr(x, method)(dim=tuple(given["axes"]), keepdim=given.get("keepdims", False))


def _softmax(operation: Operation, x: Tensor) -> Tensor:
    return x.softmax(operation.parameters["axis"])


def _named(path: str, operation: Operation, *operands: Tensor) -> Tensor:
    import torch

    return attrgetter(path)(torch)(*operands)


def _joined(operation: Operation, *arrays: Tensor) -> Tensor:
    import torch

    if operation.name == "stack":
        return torch.stack(arrays, operation.parameters["axis"])
    return torch.cat(arrays, operation.parameters["dimension"])


def _power(operation: Operation, x: Tensor) -> Tensor:
    return x ** operation.parameters["y"]


def _converted(operation: Operation, x: Tensor) -> Tensor:
    import torch

    return x.to(getattr(torch, str(operation.results[0].dtype)))


def _clamp(_: Operation, low: Tensor, x: Tensor, high: Tensor) -> Tensor:
    return x.clamp(low, high)


def _select(_: Operation, which: Tensor, no: Tensor, yes: Tensor) -> Tensor:
    return yes.where(which, no)


def _affine(_: Operation, x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    return x * factor + shift


def _reshape(operation: Operation, x: Tensor) -> Tensor:
    return x.reshape(_sizes(operation.results[0]))


def _transpose(operation: Operation, x: Tensor) -> Tensor:
    return x.permute(operation.parameters["permutation"])


def _split(operation: Operation, x: Tensor) -> tuple[Tensor, ...]:
    return x.split(operation.parameters["sizes"], operation.parameters["axis"])


def _reverse(operation: Operation, x: Tensor) -> Tensor:
    return x.flip(operation.parameters["dimensions"])


RULES: dict[str, Rule] = {
    **{name: partial(_named, path) for name, path in FUNCTIONS.items()},
    "clamp": _clamp,
    "select_n": _select,
    "affine": _affine,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _window,
    "reduce_window_sum": _window,
    "reduce_window_mean": _window,
    "dot_general": _product,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "transpose": _transpose,
    "concatenate": _joined,
    "stack": _joined,
    "split": _split,
    "slice": _slice,
    "gather": _gather,
    "pad": _pad,
    "rev": _reverse,
    "reduce_sum": partial(_reduced, "sum"),
    "reduce_max": partial(_reduced, "amax"),
    "reduce_min": partial(_reduced, "amin"),
    "mean": partial(_reduced, "mean"),
    "softmax": _softmax,
    "integer_pow": _power,
    "convert_element_type": _converted,
}
"""What computes an operation from its operands; NotImplementedError where PyTorch has nothing."""
