"""PyTorch's functions, none of which drops anything."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

DROPS = frozenset(
    ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
)
"""The functions that drop, by name."""


class NoDropout(TorchFunctionMode):
    """While open, dropout gives what it takes, also where a function is called in train mode."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, or return its input."""
        kwargs = kwargs or {}
        if func.__name__.rstrip("_") in DROPS:
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)
