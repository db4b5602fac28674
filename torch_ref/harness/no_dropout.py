"""PyTorch's functions, none of which drops anything."""

from collections.abc import Callable, Sequence
from typing import Any

from torch_ref.harness.function_mode import FunctionMode

DROPS = frozenset(
    ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
)
"""The functions that drop, by name."""


class NoDropout(FunctionMode):
    """While open, dropout gives what it takes, also where a function is called in train mode."""

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function, or return its input."""
        if func.__name__.rstrip("_") in DROPS:
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)
