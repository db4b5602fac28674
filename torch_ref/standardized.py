"""A convolution whose kernel is standardized and scaled."""

import torch
from torch import nn

from torch_ref.layers import pair


class ScaledStandardizedConv(nn.Conv2d):
    """Convolve by ``gain * gamma / sqrt(fan_in) * (kernel - mean) / sqrt(var + epsilon)``."""

    def __init__(
        self,
        in_features,
        out_features,
        kernel_size,
        *,
        stride=1,
        dilation=1,
        groups=1,
        padding=None,
        use_bias=True,
        epsilon=1e-6,
        gamma=1.0,
    ):
        if padding is None:
            kernel, steps = pair(kernel_size), pair(dilation)
            padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, steps, strict=True))
        super().__init__(
            in_features, out_features, kernel_size, stride, padding, dilation, groups, use_bias
        )
        self.gain = nn.Parameter(torch.ones(out_features))
        self.epsilon = epsilon
        self.factor = gamma * self.weight[0].numel() ** -0.5

    def forward(self, x):
        """Standardize the kernel and convolve."""
        var, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        kernel = (self.weight - mean) / torch.sqrt(var + self.epsilon)
        kernel = kernel * (self.gain * self.factor)[:, None, None, None]
        return self._conv_forward(x, kernel, self.bias)
