"""StarNet's block: two wide layers, multiplied with each other."""

from functools import partial

from torch import nn

from torch_ref.activations import relu6
from torch_ref.layers import BatchNorm, ConvNormAct, StochasticDepth, through


class StarBlock(nn.Module):
    """Filter, widen twice, multiply one by the other, narrow, filter again."""

    def __init__(
        self,
        in_features,
        out_features,
        *,
        expansion=4,
        kernel_size=7,
        dilation=1,
        norm=BatchNorm,
        act=relu6,
        drop_path=0.0,
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

    def forward(self, x):
        """Filter, multiply, narrow, filter, add."""
        y = self.depthwise(x)
        y = self.first(y) * self.second(y)
        return through(y, self.project, self.spread, self.drop_path) + x
