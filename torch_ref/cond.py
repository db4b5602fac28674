"""Conditional convolutions: each image mixes its kernels from those of several experts."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.activations import relu6
from torch_ref.layers import BatchNorm, Conv, StochasticDepth, pair, through
from torch_ref.types import Activation, Factory, Size


class CondConv(nn.Module):
    """Convolve each image with its own weighted sum of the experts' kernels."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Size = 3,
        *,
        experts: int = 4,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        padding: Size | None = None,
    ):
        super().__init__()
        conv = partial(
            Conv, stride=stride, dilation=dilation, groups=groups, padding=padding, use_bias=False
        )
        each = [conv(in_features, out_features, kernel_size) for _ in range(experts)]
        self.weight = nn.Parameter(torch.stack([conv.weight.detach() for conv in each]))
        self.window: Any = each[0].stride, each[0].padding, each[0].dilation, groups

    def forward(self, x: torch.Tensor, routing: torch.Tensor) -> torch.Tensor:
        """Mix a kernel for each image, and convolve one image after the other."""
        kernels = torch.einsum("ne,eoihw->noihw", routing, self.weight)
        images = [F.conv2d(x[i : i + 1], kernels[i], None, *self.window) for i in range(len(x))]
        return torch.cat(images)


class CondUnit(nn.Module):
    """Conditional convolution, normalization, activation."""

    def __init__(
        self, conv: nn.Module, out_features: int, *, norm: Factory | None, act: Activation | None
    ):
        super().__init__()
        self.conv = conv
        self.norm = norm(out_features) if norm else None
        self.act = act

    def forward(self, x: torch.Tensor, routing: torch.Tensor) -> torch.Tensor:
        """Apply the three in turn."""
        return through(self.conv(x, routing), self.norm, self.act)


class CondMBConv(nn.Module):
    """`MBConv` in which each image mixes the kernels of all three convolutions."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        hidden_features: int | None = None,
        experts: int = 4,
        kernel_size: Size = 3,
        stride: Size = 1,
        dilation: Size = 1,
        padding: Size | None = None,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu6,
        se: Factory | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        hidden = hidden_features or round(in_features * expansion)
        # narrow -> wide
        expand = CondConv(in_features, hidden, 1, experts=experts)
        self.expand = CondUnit(expand, hidden, norm=norm, act=act)
        # wide -> wide
        depthwise = CondConv(
            hidden,
            hidden,
            kernel_size,
            experts=experts,
            stride=stride,
            dilation=dilation,
            groups=hidden,
            padding=padding,
        )
        self.depthwise = CondUnit(depthwise, hidden, norm=norm, act=act)
        self.se = se(hidden) if se else None
        # wide -> narrow
        project = CondConv(hidden, out_features, 1, experts=experts)
        self.project = CondUnit(project, out_features, norm=norm, act=None)
        self.routing = nn.Linear(in_features, experts)
        self.residual = in_features == out_features and pair(stride) == (1, 1)
        self.drop_path = StochasticDepth(drop_path) if drop_path else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh the experts, expand, filter, gate, project, add."""
        routing = torch.sigmoid(self.routing(x.mean((2, 3))))
        y = self.expand(x, routing)
        y = self.depthwise(y, routing)
        y = self.project(through(y, self.se), routing)
        return through(y, self.drop_path) + x if self.residual else y
