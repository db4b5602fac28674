# pyright: reportUnknownMemberType=false
"""Modules' paths in profiles and compiled programs."""

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import Any, cast

import jax
from flax import nnx

from flaxblocks.layers.printing import describe
from flaxblocks.layers.signatures import ArgumentsOfInit

_caller: ContextVar[object] = ContextVar("_caller", default=None)


class Scoped(nnx.Module):
    """A module whose operations carry its path in the model.

    They are named ``stages.2/blocks.1/depthwise/conv`` by `jax.named_scope`. Nothing is stored:
    modules that are equal stay equal wherever they stand.

    `repr` is short; ``nnx.Module.__repr__(module)`` shows every variable, as `nnx.display` does in
    a notebook. `help` and `inspect.signature` show the arguments of ``__init__``.
    """

    __signature__ = ArgumentsOfInit()

    def __init_subclass__(cls, **arguments: Any):
        super().__init_subclass__(**arguments)
        if "__call__" in vars(cls) or Scoped in cls.__bases__:
            cls.__call__ = scoped(cls.__call__)  # pyright: ignore[reportAttributeAccessIssue]

    def __repr__(self) -> str:
        return describe(self)

    __str__ = __repr__


def scoped(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that names its operations, and those of the modules that it calls."""

    @wraps(method)
    def call(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
        name = _name(_caller.get(), self)
        token = _caller.set(self)
        try:
            with nullcontext() if name is None else jax.named_scope(name):
                return method(self, *args, **kwargs)
        finally:
            _caller.reset(token)

    return call


def _name(caller: object, module: nnx.Module) -> str | None:
    """Return the caller's attribute that holds the module, with its index in a list."""
    for name, part in getattr(caller, "__dict__", {}).items():
        if part is module:
            return name
        if isinstance(part, nnx.List):
            for index, item in enumerate(cast("nnx.List[Any]", part)):
                if item is module:
                    return f"{name}.{index}"
    return None
