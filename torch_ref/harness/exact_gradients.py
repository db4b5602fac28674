"""PyTorch's own functions, where a float64 module is not float64 throughout."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torch_ref.activations import hard_sigmoid
from torch_ref.harness.function_mode import FunctionMode


class ExactGradients(FunctionMode):
    """While open, what is computed in float64 is float64 throughout, whoever calls it.

    The gradient of PyTorch's hard sigmoid multiplies by a sixth that was rounded to float32, which
    puts every gradient behind it off by 3e-8; the values stay the same. And a layer that would
    take its statistics in float32 (timm's EvoNorm) takes them as it gets its input.
    """

    def call(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call the function, or what stands for it."""
        if func is F.hardsigmoid and args[0].dtype == torch.float64:
            return hard_sigmoid(args[0])
        if func is torch.Tensor.float and args[0].dtype == torch.float64:
            return args[0]
        return func(*args, **kwargs)
