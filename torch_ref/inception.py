"""InceptionNeXt's depthwise convolution."""

import torch
from torch import nn

from torch_ref.layers import Conv, pair
from torch_ref.types import Size


class InceptionConv(nn.Module):
    """Convolve three parts of the channels by windows of three shapes; leave the others."""

    def __init__(
        self,
        num_features: int,
        kernel_size: Size = 3,
        *,
        band: int = 11,
        share: float = 1 / 8,
        dilation: Size = 1,
    ):
        super().__init__()
        part = int(num_features * share)
        down, right = pair(dilation)
        self.square = Conv(part, part, kernel_size, dilation=dilation, groups=part)
        self.wide = Conv(part, part, (1, band), dilation=(1, right), groups=part)
        self.tall = Conv(part, part, (band, 1), dilation=(down, 1), groups=part)
        self.parts = [num_features - 3 * part, part, part, part]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Split, convolve, concatenate."""
        same, square, wide, tall = torch.split(x, self.parts, 1)
        return torch.cat([same, self.square(square), self.wide(wide), self.tall(tall)], 1)
