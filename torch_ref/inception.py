"""InceptionNeXt's depthwise convolution."""

from typing import Any

import torch
from torch import nn

from torch_ref.layers import Conv, pair


class InceptionConv(nn.Module):
    """Convolve three parts of the channels by windows of three shapes; leave the others."""

    def __init__(self, num_features, kernel_size=3, *, band=11, share=1 / 8, dilation=1):
        super().__init__()
        part = int(num_features * share)
        down, right = pair(dilation)
        rows: Any = {"dilation": (1, right), "groups": part}
        columns: Any = {"dilation": (down, 1), "groups": part}
        self.square = Conv(part, part, kernel_size, dilation=dilation, groups=part)
        self.wide = Conv(part, part, (1, band), **rows)
        self.tall = Conv(part, part, (band, 1), **columns)
        self.parts = [num_features - 3 * part, part, part, part]

    def forward(self, x):
        """Split, convolve, concatenate."""
        same, square, wide, tall = x.split(self.parts, 1)
        return torch.cat([same, self.square(square), self.wide(wide), self.tall(tall)], 1)
