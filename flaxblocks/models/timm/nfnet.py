"""timm's networks without normalization: NFNets, NF-RegNets and NF-ResNets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.norm_free import NormFreeBottleNeck
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import Conv, ConvNormAct, ScaledStandardizedConv
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.initializers import Initialization, Normal, lecun_normal, zeros
from flaxblocks.layers.norm_act import NormAct
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.resnet import WIDE
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.resnet import squeeze_excite
from flaxblocks.models.timm.resnet_table import R26, R50, R101
from flaxblocks.ops import max_pool
from flaxblocks.ops.activations import Activation, gelu, relu, silu

INITIALIZATION = Initialization(
    conv=lecun_normal,
    conv_bias=zeros,
    linear=Normal(0.01),
    linear_bias=zeros,
    residual_scale=zeros,
)

ALPHA = 0.2  # how much of each residual branch is added

GAMMAS: dict[Activation, float] = {
    gelu: 1.7015043497085571,
    relu: 1.7139588594436646,
    silu: 1.7881293296813965,
}
"""One by the standard deviation that each activation leaves of a standard normal distribution."""


def scaled_gelu(x: jax.Array) -> jax.Array:
    """Return `gelu` with the variance of its input."""
    return gelu(x) * GAMMAS[gelu]


@dataclass(frozen=True)
class Style:
    """What the networks of a kind share.

    Args:
        act: activation before each convolution.
        gate: makes each block's gate; None for none.
        narrow: channels between a block's 1x1 convolutions, in parts of its output's, or of its
            input's where `expands`.
        group_size: channels that a 3x3 convolution mixes; None for all.
        depth: 3x3 convolutions in a block.
        expands: whether the channels follow from the input's and the gate stands in the middle.
        scales_act: whether the activations scale, in place of the kernels; paddings and the gain
            of each block are the original's too.
    """

    act: Activation
    gate: ModuleFactory | None
    narrow: float
    group_size: int | None = None
    depth: int = 1
    expands: bool = False
    scales_act: bool = False

    @property
    def padding(self) -> Padding:
        """TensorFlow's rule in the original networks."""
        return "SAME" if self.scales_act else None

    def activation(self) -> Activation:
        """Return the activation, scaled where the kernels are not."""
        return scaled_gelu if self.scales_act else self.act

    def conv(self) -> Callable[..., Conv]:
        """Return what makes each convolution."""
        gamma = 1.0 if self.scales_act else GAMMAS[self.act]
        return partial(ScaledStandardizedConv, gamma=gamma, epsilon=1e-5)

    def block(self, width: float, beta: float) -> ModuleFactory:
        """Return what makes a block, from how wide it is before rounding."""
        hidden, groups = make_divisible(width), 1
        if self.group_size is not None:
            groups = hidden // self.group_size
            hidden = self.group_size * groups if self.group_size % 8 == 0 else hidden
        return partial(
            NormFreeBottleNeck,
            hidden_features=hidden,
            groups=groups,
            depth=self.depth,
            padding=self.padding,
            alpha=ALPHA,
            beta=beta,
            conv=self.conv(),
            act=self.activation(),
            has_gain=self.scales_act,
            **{"spatial_se" if self.expands else "se": self.gate},
        )


def _dilate(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage, whose shortcut still pools although its stride is 1."""
    first, *rest = (partial(block, dilation=dilation) for block in row.blocks)
    shortcut = partial(PooledProjection, dilated=True)
    first = partial(first, first_dilation=before, shortcut=shortcut)
    return replace(row, blocks=(first, *rest))


def _stages(
    depths: tuple[int, ...], features: tuple[int, ...], style: Style, before: int, stride: int
) -> tuple[StageRow, ...]:
    """Return the stages after so many channels, of which the first has that stride.

    Each block adds to the variance of its input, which begins anew where a shortcut projects.
    """
    rows: list[StageRow] = []
    variance = 1.0
    for number, (depth, width) in enumerate(zip(depths, features, strict=True)):
        blocks: list[ModuleFactory] = []
        for place in range(depth):
            narrow = 1.0 if style.expands and number == place == 0 else style.narrow
            inner = narrow * (before if style.expands else width)
            blocks.append(style.block(inner, variance**-0.5))
            variance = (variance if place else 1.0) + ALPHA**2
            before = width
        first, *rest = blocks
        first = partial(first, shortcut=PooledProjection)
        rows.append(StageRow(width, 2 if number else stride, (first, *rest), dilate=_dilate))
    return tuple(rows)


def norm_free(
    depths: tuple[int, ...],
    features: tuple[int, ...],
    style: Style,
    stem: tuple[int, ...],
    *,
    head: int | None = None,
    kernel_size: int = 3,
    pool: Activation | None = None,
) -> Architecture:
    """Describe a network without normalization.

    Args:
        depths: blocks of each stage.
        features: channels of each stage.
        style: what the networks of its kind share.
        stem: channels after each convolution of the stem; the last of several has a stride too.
        head: channels after the last convolution; None for no convolution there.
        kernel_size: height and width of the stem's kernels in pixels.
        pool: ends the stem.
    """
    act, last = style.activation(), stem[-1]
    unit = partial(ConvNormAct, use_bias=True, conv=style.conv(), norm=None)
    strides = (2, *(1,) * (len(stem) - 2), *(2,) * (len(stem) > 1))
    first_stride = 1 if len(stem) > 1 or pool is not None else 2
    return Architecture(
        stem=partial(
            Stem,
            features=stem,
            kernel_size=kernel_size,
            stride=strides,
            padding=style.padding,
            use_bias=True,
            norm=None,
            act=act,
            conv=partial(ConvNormAct, conv=style.conv()),
            bare=(-1,),
            pool=pool,
        ),
        stages=_stages(depths, features, style, last, first_stride),
        head=partial(Head, neck=partial(NormAct, norm=None, act=act))
        if head is None
        else partial(Head, conv_features=head, conv=unit, conv_norm=None, act=act),
        initialization=INITIALIZATION,
        family="nfnet",
    )


SE = partial(squeeze_excite, ratio=0.5)
SE_LIGHT = partial(squeeze_excite, ratio=0.25)
ECA = EfficientChannelAttention

DEEP = (16, 32, 64, 128)  # channels of the stem
FEATURES = (256, 512, 1536, 1536)
F0 = (1, 2, 6, 3)

LIGHT = Style(silu, ECA, 0.25, 64, depth=2)
SE_LIGHT_STYLE = replace(LIGHT, gate=SE_LIGHT)


def nfnet(
    times: int, style: Style = Style(gelu, SE, 0.5, 128, depth=2), head: int = 3072
) -> Architecture:
    """Describe an NFNet, whose depths are multiples of the smallest one's."""
    depths = tuple(times * depth for depth in F0)
    return norm_free(depths, FEATURES, style, DEEP, head=head)


original = partial(nfnet, style=Style(gelu, SE, 0.5, 128, depth=2, scales_act=True))


def nf_regnet(
    depths: tuple[int, ...], features: tuple[int, ...] = (48, 104, 208, 440)
) -> Architecture:
    """Describe an NF-RegNet, from channels before a factor of 0.75."""
    stem, *_ = widths = tuple(make_divisible(0.75 * each) for each in features)
    head = make_divisible(0.75 * (1280 * features[-1] // 440))
    return norm_free(depths, widths, Style(silu, SE, 2.25, 8, expands=True), (stem,), head=head)


def nf_resnet(depths: tuple[int, ...], gate: ModuleFactory | None = None) -> Architecture:
    """Describe an NF-ResNet."""
    style = Style(relu, gate, 0.25)
    return norm_free(depths, WIDE.stages, style, (64,), kernel_size=7, pool=max_pool)


SE_16 = partial(squeeze_excite, ratio=1 / 16)

NETWORKS: Networks = {
    "Brock et al. 2021 (NFNet)": {  # table 1; "light" ones and test_nfnet are timm's
        **{f"dm_nfnet_f{size}": original(size + 1) for size in range(7)},
        **{f"nfnet_f{size}": nfnet(size + 1) for size in range(8)},
        "nfnet_l0": nfnet(1, SE_LIGHT_STYLE, 2304),
        "eca_nfnet_l0": nfnet(1, LIGHT, 2304),
        "eca_nfnet_l1": nfnet(2, LIGHT),
        "eca_nfnet_l2": nfnet(3, LIGHT),
        "eca_nfnet_l3": nfnet(4, LIGHT),
        "test_nfnet": norm_free(
            (1, 1, 1, 1),
            (32, 64, 96, 128),
            replace(SE_LIGHT_STYLE, group_size=8),
            DEEP,
            head=192,
        ),
    },
    "Brock et al. 2021 (unnormalized ResNets)": {
        "nf_regnet_b0": nf_regnet((1, 3, 6, 6)),
        "nf_regnet_b1": nf_regnet((2, 4, 7, 7)),
        "nf_regnet_b2": nf_regnet((2, 4, 8, 8), (56, 112, 232, 488)),
        "nf_regnet_b3": nf_regnet((2, 5, 9, 9), (56, 128, 248, 528)),
        "nf_regnet_b4": nf_regnet((2, 6, 11, 11), (64, 144, 288, 616)),
        "nf_regnet_b5": nf_regnet((3, 7, 14, 14), (80, 168, 336, 704)),
        "nf_resnet26": nf_resnet(R26),
        "nf_resnet50": nf_resnet(R50),
        "nf_resnet101": nf_resnet(R101),
        "nf_seresnet26": nf_resnet(R26, SE_16),
        "nf_seresnet50": nf_resnet(R50, SE_16),
        "nf_seresnet101": nf_resnet(R101, SE_16),
        "nf_ecaresnet26": nf_resnet(R26, ECA),
        "nf_ecaresnet50": nf_resnet(R50, ECA),
        "nf_ecaresnet101": nf_resnet(R101, ECA),
    },
}
