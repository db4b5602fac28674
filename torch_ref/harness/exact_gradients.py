"""PyTorch's own functions, where its float64 gradient is not float64."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from torch_ref.activations import hard_sigmoid


class ExactGradients(TorchFunctionMode):
    """While open, a float64 hard sigmoid has a float64 gradient, whoever calls it.

    PyTorch's own multiplies by a sixth that was rounded to float32, which puts every gradient
    behind it off by 3e-8. The values stay the same, and so does every other function.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function, or what stands for it."""
        if func is F.hardsigmoid and args[0].dtype == torch.float64:
            return hard_sigmoid(args[0])
        return func(*args, **(kwargs or {}))
