"""The types of the blocks' arguments."""

from collections.abc import Callable

import torch
from torch import nn

Size = int | tuple[int, int]
"""Height and width, in pixels; one number serves for both."""

Activation = Callable[[torch.Tensor], torch.Tensor]

Factory = Callable[..., nn.Module]
"""Makes a layer or a block from channels and options."""
