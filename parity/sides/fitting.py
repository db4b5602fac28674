# pyright: reportUnknownMemberType=false
"""Says which input a side cannot be called with, and what its layer needs in its place."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from parity.sides.calls import Input, inputs_of
from parity.sides.frame import IMAGES, Frame
from torch_ref.harness import passes

_Conv = nn.modules.conv._ConvNd  # pyright: ignore[reportPrivateUsage]
_REFUSALS = (RuntimeError, TypeError, ValueError, LookupError, AssertionError)
"""What modules raise where what they are called with does not fit."""


def check_fits(module: nn.Module, x: Input) -> None:
    """Run PyTorch's module once on an input.

    Raises:
        ValueError: if it cannot; it names the layer, what it is given and what it needs.
    """
    own = any(p.is_meta for p in module.parameters())
    device = torch.device("meta" if own else "cpu")
    with torch.no_grad():  # else the copies of a script depend on its own tensors
        copy = passes.with_dtype(module, "float32").eval()
    entered: list[tuple[str, nn.Module, tuple[Any, ...]]] = []

    def enters(path: str) -> Callable[..., None]:
        def enter(part: nn.Module, given: tuple[Any, ...]) -> None:
            entered.append((path, part, given))

        return enter

    def leaves(*_: object) -> None:
        entered.pop()

    if not isinstance(copy, torch.jit.ScriptModule):
        for path, part in passes.modules_of(copy).items():
            part.register_forward_pre_hook(enters(path))
            part.register_forward_hook(leaves)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), device:
            args, kwargs = Frame.of(module, x).tensors(x, torch.float32)
            copy(*args, **kwargs)
    except _REFUSALS as error:
        path, part, given = entered[-1] if entered else ("", copy, ())
        need = _needed(path or type(part).__name__, part, given[0] if given else None)
        where = f"{path} ({type(part).__name__})" if path else "it"
        reason = need or f"{where} says: {_first_line(error)}"
        text = f"`x` does not fit `torch_module`: {reason}; `x` is {described(x)}"
        raise ValueError(text) from error


@contextmanager
def naming_input(x: Input) -> Generator[None]:
    """Let what JAX's module raises on an input say so.

    Raises:
        ValueError: in place of what the module raises.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = f"`jax_module` cannot be called with `x`, {described(x)}: {_first_line(error)}"
        raise ValueError(text) from error


def described(x: Input) -> str:
    """Return the shapes and dtypes of an input."""
    parts = [f"{array.dtype} of shape {tuple(array.shape)}" for array in inputs_of(x).values()]
    return ", ".join(parts)


def _needed(name: str, part: nn.Module, given: object) -> str:
    """Return what a layer needs that it is not given, nothing where that is not known."""
    if not isinstance(given, torch.Tensor):
        return ""
    if isinstance(part, nn.Embedding):
        if given.is_floating_point():
            return f"{name} (Embedding) takes integers, got {_kind(given)}"
        largest = int(given.max()) if given.device.type == "cpu" else 0
        if largest >= part.num_embeddings:
            return f"{name} (Embedding) takes integers below {part.num_embeddings}, got {largest}"
        return ""
    kind = type(part).__name__
    real = given.is_floating_point() or given.is_complex()
    if not real and next(part.parameters(recurse=False), None) is not None:
        return f"{name} ({kind}) takes floating point numbers, got {_kind(given)}"
    shape = tuple(given.shape)
    if isinstance(part, _Conv):
        axes = len(part.kernel_size) + 2
        if given.ndim < axes - 1 or given.ndim > axes:
            return f"{name} ({kind}) takes {axes} axes, got {given.ndim}"
        if given.shape[1 - axes] != part.in_channels:
            got = given.shape[1 - axes]
            return f"{name} ({kind}) takes {part.in_channels} channels, got {got}"
    if isinstance(part, nn.Linear) and shape and shape[-1] != part.in_features:
        joined = f" in {_laid_out(shape)}"
        return f"{name} (Linear) takes {part.in_features} features, got {shape[-1]}{joined}"
    return ""


def _laid_out(shape: tuple[int, ...]) -> str:
    words = " (n, c, h, w)" if len(shape) == IMAGES else ""
    return f"an array of shape {shape}{words}"


def _kind(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
