"""The ghost module: features, and more of them from a cheap convolution of each."""

from typing import Any

import torch
from torch import nn

from torch_ref.activations import relu
from torch_ref.layers import BatchNorm, ConvNormAct
from torch_ref.types import Activation, Factory, Size


class GhostModule(nn.Module):
    """A 1x1 convolution makes half of the features, a depthwise one the others from these."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: Size = 3,
        keep: bool = True,
        primary: Factory = ConvNormAct,
        cheap: Factory = ConvNormAct,
        gate: Factory | None = None,
        use_bias: bool = False,
        norm: Factory | None = BatchNorm,
        act: Activation | None = relu,
    ):
        super().__init__()
        common: dict[str, Any] = {"use_bias": use_bias, "norm": norm}
        width = -(-out_features // 2) if keep else out_features
        self.primary = primary(in_features, width, 1, act=act, **common)
        self.cheap = cheap(width, width, kernel_size, groups=width, act=act, **common)
        self.gate = gate(in_features, out_features, **common) if gate else None
        self.out_features = out_features
        self.keep = keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Make the features."""
        y = self.primary(x)
        z = self.cheap(y)
        if self.keep:
            z = torch.cat([y, z], 1)[:, : self.out_features]
        return z if self.gate is None else z * self.gate(x)
