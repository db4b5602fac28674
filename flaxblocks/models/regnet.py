"""RegNetX and RegNetY."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import log
from types import MappingProxyType
from typing import TypeVar

import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks import BottleNeck, Head, Stem, projection
from flaxblocks.layers import SqueezeExcite
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.models.architecture import Architecture, StageRow
from flaxblocks.models.backbone import Backbone
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, relu


class RegNet(Backbone):
    """A network whose widths follow a quantised line; see `Backbone` for the arguments.

    Source: Radosavovic et al. 2020; Singh et al. 2022 (RegNetY-128GF).
    """


@dataclass(frozen=True)
class Line:
    """The parameters of a RegNet, in the paper's notation.

    Args:
        depth: number of blocks, d.
        start: the first block's width, w_0.
        slope: growth of the width per block, w_a.
        factor: quantisation: the widths are powers of it times `start`, w_m.
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
            rounded: the multiple, of its second argument, that stands for its first: what turns
                a width into one that the groups divide.
        """
        widths = []
        for block in range(self.depth):
            wanted = self.start + self.slope * block
            power = round(log(wanted / self.start) / log(self.factor))
            quantised = 8 * round(self.start * self.factor**power / 8)
            wide = self.expansion * quantised
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
    stride: int,
    drop_path: float,
    dtype: jnp.dtype | type | None,
    param_dtype: jnp.dtype | type,
    rngs: nnx.Rngs,
) -> M:
    """Make a bottleneck that does not narrow; its gate's width follows from its input's.

    Args:
        in_features: channels of the input.
        out_features: channels of the output.
        group_width: channels per group of the 3x3 convolution.
        se_ratio: the gate's width as a fraction of the input's; None for no gate.
        expansion: the 3x3 convolution's width as a multiple of the output's.
        block: makes a bottleneck of these numbers.
        act: activation of the block and its gate.
        stride: step of the 3x3 convolution in pixels.
        drop_path: probability of dropping the residual branch of a sample in training.
        dtype: dtype of the computation; inferred where absent.
        param_dtype: dtype of the parameters.
        rngs: random streams; ``params`` and ``dropout`` are drawn from.
    """
    se = None
    if se_ratio is not None:
        se = partial(SqueezeExcite, squeeze_features=round(se_ratio * in_features), act=act)
    wide = expansion * out_features
    return block(
        in_features,
        out_features,
        1 / expansion,
        stride=stride,
        groups=wide // min(group_width, wide),
        use_bias=False,
        act=act,
        spatial_se=se,
        drop_path=drop_path,
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=rngs,
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
    )


regnet_y = partial(regnet, se_ratio=0.25)

MODELS: Mapping[str, Architecture] = MappingProxyType(
    {
        # Radosavovic et al. 2020, figure 16: RegNetX
        "regnet_x_400mf": regnet(Line(22, 24, 24.48, 2.54, 16)),
        "regnet_x_800mf": regnet(Line(16, 56, 35.73, 2.28, 16)),
        "regnet_x_1_6gf": regnet(Line(18, 80, 34.01, 2.25, 24)),
        "regnet_x_3_2gf": regnet(Line(25, 88, 26.31, 2.25, 48)),
        "regnet_x_8gf": regnet(Line(23, 80, 49.56, 2.88, 120)),
        "regnet_x_16gf": regnet(Line(22, 216, 55.59, 2.1, 128)),
        "regnet_x_32gf": regnet(Line(23, 320, 69.86, 2.0, 168)),
        # Radosavovic et al. 2020, figure 18: RegNetY
        "regnet_y_400mf": regnet_y(Line(16, 48, 27.89, 2.09, 8)),
        "regnet_y_800mf": regnet_y(Line(14, 56, 38.84, 2.4, 16)),
        "regnet_y_1_6gf": regnet_y(Line(27, 48, 20.71, 2.65, 24)),
        "regnet_y_3_2gf": regnet_y(Line(21, 80, 42.63, 2.66, 24)),
        "regnet_y_8gf": regnet_y(Line(17, 192, 76.82, 2.19, 56)),
        "regnet_y_16gf": regnet_y(Line(18, 200, 106.23, 2.48, 112)),
        "regnet_y_32gf": regnet_y(Line(20, 232, 115.89, 2.53, 232)),
        "regnet_y_128gf": regnet_y(Line(27, 456, 160.83, 2.52, 264)),  # Singh et al. 2022
    }
)
