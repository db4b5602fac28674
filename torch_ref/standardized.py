"""A convolution whose kernel is standardized and scaled."""

import torch
from torch import nn

from torch_ref.layers import keeping_size
from torch_ref.types import Size


class ScaledStandardizedConv(nn.Conv2d):
    """Convolve by ``gain * gamma / sqrt(fan_in) * (kernel - mean) / sqrt(var + epsilon)``."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        padding: Size | None = None,
        use_bias: bool = True,
        epsilon: float = 1e-6,
        gamma: float = 1.0,
    ):
        if padding is None:
            padding = keeping_size(kernel_size, dilation)
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            in_features, out_features, kernel_size, stride, padding, dilation, groups, use_bias
        )
        self.gain = nn.Parameter(torch.ones(out_features))
        self.epsilon = epsilon
        self.factor = gamma * self.weight[0].numel() ** -0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Standardize the kernel and convolve."""
        var, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        kernel = (self.weight - mean) / torch.sqrt(var + self.epsilon)
        kernel = kernel * (self.gain * self.factor)[:, None, None, None]
        return self._conv_forward(x, kernel, self.bias)
