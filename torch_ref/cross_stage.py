"""Cross-stage partial blocks, and Darknet's block, which they are put around."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from torch_ref.activations import leaky_relu
from torch_ref.layers import BatchNorm, ConvNormAct, StochasticDepth, through
from torch_ref.types import Activation, Factory, Size


class DarkBlock(nn.Module):
    """Two activated convolutions, after which the input is added."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden_features: int,
        kernel_sizes: tuple[int, int] = (1, 3),
        dilation: Size = 1,
        groups: int = 1,
        norm: Factory | None = BatchNorm,
        act: Activation | None = leaky_relu,
        se: Factory | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        unit = partial(ConvNormAct, use_bias=False, norm=norm, act=act)
        window: dict[str, Any] = {"dilation": dilation, "groups": groups}
        one, other = (window if size == max(kernel_sizes) else {} for size in kernel_sizes)
        self.first = unit(in_features, hidden_features, kernel_sizes[0], **one)
        self.se = se(hidden_features) if se else None
        self.second = unit(hidden_features, out_features, kernel_sizes[1], **other)
        self.drop_path = StochasticDepth(drop_path) if drop_path else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve twice, add."""
        return through(x, self.first, self.se, self.second, self.drop_path) + x


class CrossStagePartial(nn.Module):
    """Blocks on one half of the channels, and the other half past them."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        blocks: Sequence[Factory],
        expand_features: int | None = None,
        block_features: int | None = None,
        mixes: bool = True,
        use_bias: bool = False,
        norm: Factory | None = BatchNorm,
        act: Activation | None = leaky_relu,
        linear: bool = False,
    ):
        super().__init__()
        unit = partial(ConvNormAct, use_bias=use_bias, norm=norm)
        wide = expand_features or out_features
        half = wide // 2
        width = block_features or half
        self.expand = unit(in_features, wide, 1, act=None if linear else act)
        widths = [half] + [width] * len(blocks)
        self.blocks = nn.ModuleList(
            block(before, width) for block, before in zip(blocks, widths, strict=False)
        )
        self.mix = unit(widths[-1], half, 1, act=act) if mixes else None
        total = half + (half if mixes else widths[-1])
        self.merge = unit(total, out_features, 1, act=act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Split, apply the blocks to one half, merge."""
        first, second = self.expand(x).chunk(2, 1)
        if self.mix is None:
            return self.merge(torch.cat([through(first, *self.blocks), second], 1))
        return self.merge(torch.cat([first, through(second, *self.blocks, self.mix)], 1))
