"""Conditional convolutions: each image mixes its kernels from those of several experts."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from torch_ref.activations import relu6
from torch_ref.layers import BatchNorm, Conv, StochasticDepth, pair, through


class CondConv(nn.Module):
    """Convolve each image with its own weighted sum of the experts' kernels."""

    def __init__(
        self,
        in_features,
        out_features,
        kernel_size=3,
        *,
        experts=4,
        stride=1,
        dilation=1,
        groups=1,
        padding=None,
    ):
        super().__init__()
        window = {"stride": stride, "dilation": dilation, "groups": groups, "padding": padding}
        each = [
            Conv(in_features, out_features, kernel_size, use_bias=False, **window)
            for _ in range(experts)
        ]
        self.weight = nn.Parameter(torch.stack([conv.weight.detach() for conv in each]))
        self.window: Any = each[0].stride, each[0].padding, each[0].dilation, groups

    def forward(self, x, routing):
        """Mix a kernel for each image, and convolve one image after the other."""
        kernels = torch.einsum("ne,eoihw->noihw", routing, self.weight)
        images = [F.conv2d(x[i : i + 1], kernels[i], None, *self.window) for i in range(len(x))]
        return torch.cat(images)


class CondUnit(nn.Module):
    """Conditional convolution, normalization, activation."""

    def __init__(self, conv, out_features, *, norm, act):
        super().__init__()
        self.conv = conv
        self.norm = norm(out_features) if norm else None
        self.act = act

    def forward(self, x, routing):
        """Apply the three in turn."""
        return through(self.conv(x, routing), self.norm, self.act)


class CondMBConv(nn.Module):
    """`MBConv` in which each image mixes the kernels of all three convolutions."""

    def __init__(
        self,
        in_features,
        out_features,
        expansion=4,
        *,
        hidden_features=None,
        experts=4,
        kernel_size=3,
        stride=1,
        dilation=1,
        padding=None,
        norm=BatchNorm,
        act=relu6,
        se=None,
        drop_path=0.0,
    ):
        super().__init__()
        hidden = hidden_features or round(in_features * expansion)
        window = {"stride": stride, "dilation": dilation, "padding": padding, "groups": hidden}
        # narrow -> wide
        expand = CondConv(in_features, hidden, 1, experts=experts)
        self.expand = CondUnit(expand, hidden, norm=norm, act=act)
        # wide -> wide
        depthwise = CondConv(hidden, hidden, kernel_size, experts=experts, **window)
        self.depthwise = CondUnit(depthwise, hidden, norm=norm, act=act)
        self.se = se(hidden) if se else None
        # wide -> narrow
        project = CondConv(hidden, out_features, 1, experts=experts)
        self.project = CondUnit(project, out_features, norm=norm, act=None)
        self.routing = nn.Linear(in_features, experts)
        self.residual = in_features == out_features and pair(stride) == (1, 1)
        self.drop_path = StochasticDepth(drop_path) if drop_path else None

    def forward(self, x):
        """Weigh the experts, expand, filter, gate, project, add."""
        routing = torch.sigmoid(self.routing(x.mean((2, 3))))
        y = self.expand(x, routing)
        y = self.depthwise(y, routing)
        y = self.project(through(y, self.se), routing)
        return through(y, self.drop_path) + x if self.residual else y
