"""Convolutions of one input, added up, which at inference are one."""

from functools import partial, reduce
from typing import Any

import torch
from torch import nn

from torch_ref.activations import relu
from torch_ref.layers import BatchNorm, ConvNormAct, StochasticDepth, pair, through
from torch_ref.types import Activation, Factory, Size

projection = partial(ConvNormAct, kernel_size=1, act=None)


class RepConv(nn.Module):
    """Parallel convolutions of one input, each with a normalization, and one of the input alone."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Size = 3,
        *,
        stride: Size = 1,
        dilation: Size = 1,
        groups: int = 1,
        branches: int = 1,
        use_bias: bool = False,
        norm: Factory | None = BatchNorm,
        point: Factory | None = projection,
        skip: Factory | None = BatchNorm,
        final_norm: Factory | None = None,
        se: Factory | None = None,
        act: Activation | None = relu,
        drop_path: float = 0.0,
    ):
        super().__init__()
        arguments: dict[str, Any] = {
            "stride": stride,
            "groups": groups,
            "use_bias": use_bias,
            "norm": norm,
        }
        unit = partial(ConvNormAct, kernel_size=kernel_size, dilation=dilation, act=None)
        self.convs = nn.ModuleList(
            unit(in_features, out_features, **arguments) for _ in range(branches)
        )
        self.point = None
        if point is not None and pair(kernel_size) != (1, 1):
            self.point = point(in_features, out_features, **arguments)
        stays = in_features == out_features and pair(stride) == (1, 1)
        self.skip = skip(out_features) if skip is not None and stays else None
        self.final_norm = final_norm(out_features) if final_norm else None
        self.se = se(out_features) if se else None
        self.act = act
        drops = drop_path and self.skip is not None
        self.drop_path = StochasticDepth(drop_path) if drops else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve, add up, gate, activate."""
        convs = [*self.convs, *([] if self.point is None else [self.point])]
        y = through(reduce(torch.add, (conv(x) for conv in convs)), self.drop_path)
        if self.skip is not None:
            y = y + self.skip(x)
        return through(y, self.final_norm, self.se, self.act)
