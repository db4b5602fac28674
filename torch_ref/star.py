"""StarNet's block: two wide layers, multiplied with each other."""

from functools import partial

import torch
from torch import nn

from torch_ref.activations import relu6
from torch_ref.layers import BatchNorm, ConvNormAct, StochasticDepth, through
from torch_ref.types import Activation, Factory, Size


class StarBlock(nn.Module):
    """Filter, widen twice, multiply one by the other, narrow, filter again."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        expansion: float = 4,
        kernel_size: Size = 7,
        dilation: Size = 1,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu6,
        drop_path: float = 0.0,
    ):
        super().__init__()
        wide = round(in_features * expansion)
        filters = partial(
            ConvNormAct, in_features, in_features, kernel_size, dilation=dilation, act=None
        )
        widen = partial(ConvNormAct, in_features, wide, 1, norm=None)
        self.depthwise = filters(groups=in_features, norm=norm)
        # narrow -> wide
        self.first = widen(act=act)
        self.second = widen(act=None)
        # wide -> narrow
        self.project = ConvNormAct(wide, out_features, 1, norm=norm, act=None)
        self.spread = filters(groups=in_features, norm=None)
        self.drop_path = StochasticDepth(drop_path) if drop_path else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter, multiply, narrow, filter, add."""
        y = self.depthwise(x)
        y = self.first(y) * self.second(y)
        return through(y, self.project, self.spread, self.drop_path) + x
