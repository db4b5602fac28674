"""The tutorial's mobile blocks, with the arguments that published networks vary."""

from functools import partial

import torch
from torch import nn

from torch_ref.activations import relu, relu6
from torch_ref.layers import BatchNorm, ConvNormAct, Mixed, StochasticDepth, pair, through
from torch_ref.types import Activation, Factory, Size


class _AddsInput(nn.Module):
    """A block that ends by adding its input, where the shape stays, and an activation."""

    def set_end(self, residual: bool, drop_path: float, final_act: Activation | None) -> None:
        """Set what comes after the last convolution."""
        self.residual = residual
        self.drop_path = StochasticDepth(drop_path) if drop_path else None
        self.final_act = final_act

    def finish(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Add the input and activate."""
        if self.residual:
            y = through(y, self.drop_path) + x
        return through(y, self.final_act)


class MBConv(_AddsInput):
    """Narrow, wide, narrow with a depthwise 3x3; a residual only where the shape stays."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        hidden_features: int | None = None,
        kernel_size: Size | Mixed = 3,
        stride: Size = 1,
        dilation: Size = 1,
        padding: Size | None = None,
        use_bias: bool = True,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu6,
        final_act: Activation | None = relu,
        se: Factory | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        hidden = hidden_features or round(in_features * expansion)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm)
        # narrow -> wide
        self.expand = unit(in_features, hidden, 1, act=act) if hidden != in_features else None
        # wide -> wide
        self.depthwise = unit(
            hidden,
            hidden,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=hidden,
            padding=padding,
            act=act,
        )
        # here you can apply SE
        self.se = se(hidden) if se else None
        # wide -> narrow
        self.project = unit(hidden, out_features, 1, act=None)
        residual = in_features == out_features and pair(stride) == (1, 1)
        self.set_end(residual, drop_path, final_act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expand, filter, gate, project, add."""
        return self.finish(through(x, self.expand, self.depthwise, self.se, self.project), x)


class FusedMBConv(_AddsInput):
    """`MBConv` with one dense 3x3 in place of the expansion and the depthwise convolution."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        hidden_features: int | None = None,
        kernel_size: Size = 3,
        stride: Size = 1,
        dilation: Size = 1,
        padding: Size | None = None,
        use_bias: bool = True,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu6,
        final_act: Activation | None = relu,
        se: Factory | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        hidden = hidden_features or round(in_features * expansion)
        expands = hidden != in_features
        width = hidden if expands else out_features
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm)
        # narrow -> wide
        self.expand = unit(
            in_features,
            width,
            kernel_size,
            stride=stride,
            dilation=dilation,
            padding=padding,
            act=act,
        )
        # here you can apply SE
        self.se = se(width) if se else None
        # wide -> narrow
        self.project = unit(hidden, out_features, 1, act=None) if expands else None
        residual = in_features == out_features and pair(stride) == (1, 1)
        self.set_end(residual, drop_path, final_act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expand, gate, project, add."""
        return self.finish(through(x, self.expand, self.se, self.project), x)
