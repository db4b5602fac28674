"""The tutorial's blocks, with the arguments that published networks vary."""

from functools import partial
from typing import Any

import torch
from torch import nn

from torch_ref.activations import relu
from torch_ref.layers import (
    BatchNorm,
    Conv,
    Conv1X1BnReLU,
    ConvNormAct,
    StochasticDepth,
    pair,
    through,
)
from torch_ref.types import Activation, Factory, Size


class ResidualAdd(nn.Module):
    """Add the input, or what a shortcut makes of it, to the block's output."""

    def __init__(self, block: nn.Module, shortcut: Activation | None = None):
        super().__init__()
        self.block = block
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the two branches."""
        return self.block(x) + through(x, self.shortcut)


class BottleNeck(nn.Module):
    """Wide, narrow, wide, with a shortcut where the shape changes, which has a ReLU of its own."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reduction: float = 4,
        *,
        kernel_size: Size = 3,
        stride: Size = 1,
        early_stride: bool = False,
        dilation: Size = 1,
        groups: int = 1,
        use_bias: bool = True,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu,
        final_act: Activation | None = relu,
        shortcut: Factory = Conv1X1BnReLU,
        se: Factory | None = None,
        spatial_se: Factory | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        narrow = int(out_features // reduction)
        same_shape = in_features == out_features and pair(stride) == (1, 1)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm)
        first, second = (stride, 1) if early_stride else (1, stride)
        # wide -> narrow
        self.reduce = unit(in_features, narrow, 1, stride=first, act=act)
        # narrow -> narrow
        self.spatial = unit(
            narrow, narrow, kernel_size, stride=second, dilation=dilation, groups=groups, act=act
        )
        self.spatial_se = spatial_se(narrow) if spatial_se else None
        # narrow -> wide
        self.expand = unit(narrow, out_features, 1, act=None)
        self.se = se(out_features) if se else None
        self.shortcut = (
            None
            if same_shape
            else shortcut(in_features, out_features, stride=stride, use_bias=use_bias, norm=norm)
        )
        self.drop_path = StochasticDepth(drop_path) if drop_path else None
        self.final_act = final_act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reduce, work, expand, add."""
        y = through(x, self.reduce, self.spatial, self.spatial_se, self.expand, self.se)
        y = through(y, self.drop_path) + through(x, self.shortcut)
        return through(y, self.final_act)


class LinearBottleNeck(BottleNeck):
    """`BottleNeck` without the last activation."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reduction: float = 4,
        *,
        final_act: Activation | None = None,
        **arguments: Any,
    ):
        super().__init__(in_features, out_features, reduction, final_act=final_act, **arguments)


class InvertedResidual(nn.Module):
    """Narrow, wide, narrow with a dense 3x3, and a shortcut as in `BottleNeck`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        kernel_size: Size = 3,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        use_bias: bool = True,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu,
        final_act: Activation | None = relu,
        shortcut: Factory | None = Conv1X1BnReLU,
        drop_path: float = 0.0,
    ):
        super().__init__()
        wide = round(in_features * expansion)
        same_shape = in_features == out_features and pair(stride) == (1, 1)
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm)
        # narrow -> wide
        self.expand = unit(in_features, wide, 1, act=act)
        # wide -> wide
        self.spatial = unit(
            wide, wide, kernel_size, stride=stride, dilation=dilation, groups=groups, act=act
        )
        # wide -> narrow
        self.project = unit(wide, out_features, 1, act=None)
        self.shortcut = None
        if shortcut is not None and not same_shape:
            self.shortcut = shortcut(
                in_features, out_features, stride=stride, use_bias=use_bias, norm=norm
            )
        self.adds = same_shape or self.shortcut is not None
        self.drop_path = StochasticDepth(drop_path) if drop_path else None
        self.final_act = final_act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Expand, work, project, add."""
        y = through(x, self.expand, self.spatial, self.project)
        if self.adds:
            y = through(y, self.drop_path) + through(x, self.shortcut)
        return through(y, self.final_act)


class MobileNetLikeBlock(InvertedResidual):
    """`InvertedResidual` with a residual only where the shape stays."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        expansion: float = 4,
        *,
        shortcut: Factory | None = None,
        **arguments: Any,
    ):
        super().__init__(in_features, out_features, expansion, shortcut=shortcut, **arguments)


class DepthWiseSeparableConv(nn.Module):
    """A depthwise convolution without padding, then a pointwise one."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: Size = 3,
        stride: Size = 1,
        dilation: Size = 1,
        padding: Size | None = 0,
        use_bias: bool = True,
    ):
        super().__init__()
        self.depthwise = Conv(
            in_features,
            in_features,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=in_features,
            padding=padding,
            use_bias=use_bias,
        )
        self.pointwise = Conv(in_features, out_features, 1, use_bias=use_bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the two convolutions."""
        return self.pointwise(self.depthwise(x))
