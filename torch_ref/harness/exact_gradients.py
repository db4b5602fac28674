"""PyTorch's own functions, where its float64 gradient is not float64."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torch_ref.activations import hard_sigmoid
from torch_ref.harness.function_mode import FunctionMode


class ExactGradients(FunctionMode):
    """While open, a float64 hard sigmoid has a float64 gradient, whoever calls it.

    PyTorch's own multiplies by a sixth that was rounded to float32, which puts every gradient
    behind it off by 3e-8. The values stay the same, and so does every other function.
    """

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function, or what stands for it."""
        if func is F.hardsigmoid and args[0].dtype == torch.float64:
            return hard_sigmoid(args[0])
        return func(*args, **kwargs)
