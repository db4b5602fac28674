"""What PyTorch's operations are called here, and what their arguments are."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch._ops import OpOverload

LAYOUT = {
    *("view", "reshape", "permute", "transpose", "flatten", "unflatten", "unsqueeze", "squeeze"),
    *("contiguous", "t", "mt", "h", "mh", "movedim", "moveaxis", "swapaxes", "swapdims", "clone"),
    *("detach", "to", "type", "double", "float", "view_as", "reshape_as", "expand", "rearrange"),
}
"""Operations that only lay values out, or repeat them."""

ACTIVATIONS = {
    *("relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "elu"),
    *("leaky_relu", "prelu", "softplus", "mish", "selu", "celu", "hardtanh", "clamp", "logsigmoid"),
    *("softsign", "rrelu", "glu"),
}
"""Elementwise nonlinearities."""

NORMS = {"batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm"}
"""Operations that normalize."""

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = (*_CONV[:5], "output_padding", "groups", "dilation")
_POOL = ("input", "kernel_size", "stride", "padding")
_NAMES: dict[str, Sequence[str]] = {
    **{f"conv{n}d": _CONV for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _TRANSPOSED for n in (1, 2, 3)},
    **{f"max_pool{n}d": (*_POOL, "dilation", "ceil_mode", "return_indices") for n in (1, 2, 3)},
    **{
        f"avg_pool{n}d": (*_POOL, "ceil_mode", "count_include_pad", "divisor_override")
        for n in (1, 2, 3)
    },
    "linear": ("input", "weight", "bias"),
    "softmax": ("input", "dim"),
    "log_softmax": ("input", "dim"),
    "flatten": ("input", "start_dim", "end_dim"),
    "add": ("input", "other"),
    "sub": ("input", "other"),
    "mul": ("input", "other"),
    "div": ("input", "other"),
    "gelu": ("input", "approximate"),
    "scaled_dot_product_attention": (
        *("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"),
    ),
}
_SPELLINGS = {
    **{"iadd": "add", "radd": "add", "imul": "mul", "rmul": "mul", "multiply": "mul"},
    **{"truediv": "div", "itruediv": "div", "divide": "div", "isub": "sub"},
    **{"_max_pool1d": "max_pool1d", "_max_pool2d": "max_pool2d", "_softmax": "softmax"},
    **{"max_pool3d_with_indices": "max_pool3d", "clip": "clamp", "hardswish_": "hardswish"},
}


def kind_of(function: Callable[..., Any]) -> str:
    """Return an operation's name, the same for a function, a method, and a method in place."""
    name = function.__name__
    owner: object = getattr(function, "__self__", None)
    if isinstance(function, OpOverload):
        name = name.partition(".")[0]
    if name == "__get__":
        name = getattr(owner, "__name__", name).lower()
    name = name.strip("_") if name.startswith("__") else name.removesuffix("_")
    return _SPELLINGS.get(name, name)


def named_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments by name; those whose names are unknown are numbered."""
    names = _NAMES.get(kind_of(function))
    if isinstance(function, OpOverload):
        schema = function._schema  # pyright: ignore[reportPrivateUsage]
        taken = [argument.name for argument in schema.arguments]
        names = tuple("input" if name == "self" else name for name in taken)
    elif names is None:
        try:
            names = tuple(inspect.signature(function).parameters)
        except (TypeError, ValueError):  # a function in C++ that does not say
            names = ("input",)
        names = ("input",) if names[:1] in ((), ("args",), ("self",)) else names
    numbered = {
        names[i] if i < len(names) else f"argument {i}": value for i, value in enumerate(args)
    }
    return numbered | dict(kwargs)
