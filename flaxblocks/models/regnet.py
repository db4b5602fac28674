"""RegNetX and RegNetY."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Any, TypeVar

from flax import nnx

from flaxblocks.blocks import BottleNeck, Head, Stem, projection
from flaxblocks.layers import SqueezeExcite
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, relu


@dataclass(frozen=True)
class Line:
    """The parameters of a RegNet, in the paper's notation.

    Args:
        depth: number of blocks, d.
        start: the first block's width, w_0.
        slope: growth of the width per block, w_a.
        factor: quantization: the widths are powers of it times `start`, w_m.
        group_width: channels per group of the 3x3 convolutions, g.
        expansion: the 3x3 convolutions' width as a multiple of the block's, 1 / b.

    Source: Radosavovic et al. 2020, section 3.3.
    """

    depth: int
    start: int
    slope: float
    factor: float
    group_width: int
    expansion: int = 1

    def stages(self, rounded: Callable[[int, int], int] = make_divisible) -> dict[int, int]:
        """Return the number of blocks of each width, in order (equations 2 to 4).

        Args:
            rounded: ``rounded(width, multiple)``, which makes a width divisible by that of the
                groups.
        """
        widths: list[int] = []
        for block in range(self.depth):
            wanted = self.start + self.slope * block
            power = round(log(wanted / self.start) / log(self.factor))
            quantized = 8 * round(self.start * self.factor**power / 8)
            wide = self.expansion * quantized
            widths.append(rounded(wide, min(self.group_width, wide)) // self.expansion)
        return dict(Counter(widths))


M = TypeVar("M", bound=nnx.Module)

bottleneck = partial(BottleNeck, shortcut=projection)

INITIALIZATION = Initialization(conv=kaiming_normal, linear=Normal(0.01), linear_bias=zeros)


def regnet_block(
    in_features: int,
    out_features: int,
    *,
    group_width: int,
    se_ratio: float | None,
    expansion: int = 1,
    block: Callable[..., M] = bottleneck,
    act: Activation = relu,
    **arguments: Any,
) -> M:
    """Make a bottleneck whose gate is as wide as a fraction of the block's input.

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        group_width: channels per group of the 3x3 convolution.
        se_ratio: the gate's width as a fraction of the input's; None for no gate.
        expansion: the 3x3 convolution's width as a multiple of the output's.
        block: makes a bottleneck of these numbers.
        act: activation of the block and its gate.
        **arguments: the others that a `StageRow` hands to a block.
    """
    se = None
    if se_ratio is not None:
        se = partial(SqueezeExcite, squeeze_features=round(se_ratio * in_features), act=act)
    wide = expansion * out_features
    return block(
        in_features,
        out_features,
        1 / expansion,
        groups=wide // min(group_width, wide),
        use_bias=False,
        act=act,
        spatial_se=se,
        **arguments,
    )


def regnet(line: Line, se_ratio: float | None = None) -> Architecture:
    """Describe a RegNet.

    Args:
        line: its parameters.
        se_ratio: the gates' width as a fraction of the block's input (RegNetY); None for no
            gates (RegNetX).
    """
    block = partial(regnet_block, group_width=line.group_width, se_ratio=se_ratio)
    return Architecture(
        stem=partial(Stem, features=(32,)),
        stages=tuple(
            StageRow(width, 2, (block,) * depth) for width, depth in line.stages().items()
        ),
        head=Head,
        initialization=INITIALIZATION,
        family="regnet",
    )


regnet_y = partial(regnet, se_ratio=0.25)

X = {  # by hundreds of millions of multiply-adds
    2: Line(13, 24, 36.44, 2.49, 8),
    4: Line(22, 24, 24.48, 2.54, 16),
    6: Line(16, 48, 36.97, 2.24, 24),
    8: Line(16, 56, 35.73, 2.28, 16),
    16: Line(18, 80, 34.01, 2.25, 24),
    32: Line(25, 88, 26.31, 2.25, 48),
    40: Line(23, 96, 38.65, 2.43, 40),
    64: Line(17, 184, 60.83, 2.07, 56),
    80: Line(23, 80, 49.56, 2.88, 120),
    120: Line(19, 168, 73.36, 2.37, 112),
    160: Line(22, 216, 55.59, 2.1, 128),
    320: Line(23, 320, 69.86, 2.0, 168),
}
"""Radosavovic et al. 2020, figure 16: RegNetX."""

Y = {
    2: Line(13, 24, 36.44, 2.49, 8),
    4: Line(16, 48, 27.89, 2.09, 8),
    6: Line(15, 48, 32.54, 2.32, 16),
    8: Line(14, 56, 38.84, 2.4, 16),
    16: Line(27, 48, 20.71, 2.65, 24),
    32: Line(21, 80, 42.63, 2.66, 24),
    40: Line(22, 96, 31.41, 2.24, 64),
    64: Line(25, 112, 33.22, 2.27, 72),
    80: Line(17, 192, 76.82, 2.19, 56),
    120: Line(19, 168, 73.36, 2.37, 112),
    160: Line(18, 200, 106.23, 2.48, 112),
    320: Line(20, 232, 115.89, 2.53, 232),
}
"""Radosavovic et al. 2020, figure 18: RegNetY."""

Y_SEER = {
    640: Line(20, 352, 147.48, 2.4, 328),
    1280: Line(27, 456, 160.83, 2.52, 264),
    2560: Line(27, 640, 230.83, 2.53, 373),
}
"""Goyal et al. 2022 (SEER); Singh et al. 2022 trained the second of them."""

SIZES = {"400mf": 4, "800mf": 8, "1_6gf": 16, "3_2gf": 32, "8gf": 80, "16gf": 160, "32gf": 320}
"""The RegNets that torchvision has."""

NETWORKS: Networks = {
    "Radosavovic et al. 2020": {
        **{f"regnet_x_{size}": regnet(X[flops]) for size, flops in SIZES.items()},
        **{f"regnet_y_{size}": regnet_y(Y[flops]) for size, flops in SIZES.items()},
    },
    "Singh et al. 2022": {"regnet_y_128gf": regnet_y(Y_SEER[1280])},
}
