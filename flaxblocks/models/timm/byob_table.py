"""timm's GENets, RegNetZ of its own sizes, and ResNets with other gates: a row for each."""

from functools import partial

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.conv_pair import ConvPair
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import BatchNorm, ConvNormAct, EvoNorm
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.resnet import WIDE
from flaxblocks.models.timm.byob import (
    ECA,
    SE,
    SE_4,
    Kind,
    basic,
    bilinear,
    bottle,
    byobnet,
    context,
    dark,
    edge,
    inverted,
    plain,
    quad,
    tiered,
)
from flaxblocks.models.timm.resnet_table import R26, R50
from flaxblocks.ops import max_pool
from flaxblocks.ops.activations import silu


def genet(
    stem: int, depths: tuple[int, ...], widths: tuple[int, ...], features: int
) -> Architecture:
    """Describe a GENet: full convolutions, then bottlenecks, then inverted ones.

    Args:
        stem: channels of the first convolution.
        depths: blocks of each stage.
        widths: channels of each stage.
        features: channels of the last convolution.

    Source: Lin et al. 2020, the released code.
    """
    widened = partial(bottle, ratio=3, group_width=1)
    return plain(
        depths,
        widths,
        (basic, basic, bottle, widened, widened),
        stem=partial(Stem, features=(stem,)),
        strides=(2, 2, 2, 2, 1),
        head=partial(Head, conv_features=features),
    )


grouped = partial(bottle, group_width=32)
depthwise = partial(bottle, ratio=1, group_width=1)

TIERED = tiered(64)

R33, TAPERED = (2, 3, 3, 2), (256, 512, 1536, 1536)

resnext26ts = partial(
    byobnet, depths=R26, widths=WIDE.stages, kinds=grouped, stem=tiered(64, max_pool)
)
resnet32ts = partial(byobnet, R33, TAPERED, bottle, stem=TIERED)
resnet33ts = partial(resnet32ts, head=partial(Head, conv_features=1280, act=silu))


def resnet_q(
    depths: tuple[int, ...], first: Kind, spatial: ModuleFactory, bare: tuple[int, ...] = ()
) -> Architecture:
    """Describe a network with a stem of four convolutions and depthwise ones in its last stage.

    Args:
        depths: blocks of each stage.
        first: kind of the first stage's blocks.
        spatial: makes the spatial convolution of the others, see `BottleNeck`.
        bare: numbers of the stem's convolutions that nothing follows.
    """
    each = (grouped, grouped, depthwise)
    return byobnet(
        depths,
        TAPERED,
        (first, *(partial(kind, spatial=spatial) for kind in each)),
        stem=quad(128, bare=bare),
        head=partial(Head, conv_features=2048, act=silu),
    )


def regnet_z(
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    features: int,
    group_width: int,
    *,
    expansion: int = 4,
    stem: partial[Stem] = TIERED,
    first_stride: int = 1,
    norm: ModuleFactory = BatchNorm,
) -> Architecture:
    """Describe a RegNetZ of timm's own size.

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        features: channels of the last convolution.
        group_width: channels per group of the 3x3 convolutions.
        expansion: width of these as a multiple of the block's input.
        stem: makes the first layers.
        first_stride: step of the first stage in pixels.
        norm: makes each normalization.
    """
    return byobnet(
        depths,
        widths,
        partial(inverted, expansion=expansion, group_width=group_width),
        stem=stem,
        strides=(first_stride, 2, 2, 2),
        gate=SE_4,
        norm=norm,
        head=partial(Head, conv_features=features, conv_norm=norm, act=silu),
    )


small_z = partial(
    regnet_z,
    (2, 6, 12, 2),
    (48, 96, 192, 288),
    1536,
    16,
    stem=partial(Stem, features=(32,)),
    first_stride=2,
)
EVO = partial(EvoNorm, group_size=16, epsilon=1e-3, always=True)
DEEP = partial(Stem, features=(64, 64, 64), stride=(2, 1, 2))

Z_D = (3, 6, 12, 3), (64, 128, 256, 384), 1792
Z_E = (3, 8, 16, 3), (96, 192, 384, 512), 2048

NETWORKS: Networks = {
    "Lin et al. 2020 (GENet)": {
        "gernet_s": genet(13, (1, 3, 7, 2, 1), (48, 48, 384, 560, 256), 1920),
        "gernet_m": genet(32, (1, 2, 6, 4, 1), (128, 192, 640, 640, 640), 2560),
        "gernet_l": genet(32, (1, 2, 6, 5, 4), (128, 192, 640, 640, 640), 2560),
    },
    "Dollar et al. 2021 (RegNetZ)": {  # timm's own sizes
        "regnetz_b16": small_z(expansion=3),
        "regnetz_b16_evos": small_z(expansion=3, norm=EVO),
        "regnetz_c16": small_z(),
        "regnetz_c16_evos": small_z(norm=EVO),
        "regnetz_d32": regnet_z(*Z_D, 32),
        "regnetz_d8": regnet_z(*Z_D, 8),
        "regnetz_d8_evos": regnet_z(*Z_D, 8, stem=DEEP, norm=EVO),
        "regnetz_e8": regnet_z(*Z_E, 8),
    },
    "He et al. 2016": {  # timm's own
        "resnet32ts": resnet32ts(),
        "resnet33ts": resnet33ts(),
        "resnet51q": resnet_q((2, 4, 6, 4), grouped, ConvNormAct, bare=(0, 1)),
        "resnet61q": resnet_q((1, 4, 6, 4), edge, ConvPair),
        "test_byobnet": plain(
            (1, 1, 1, 1),
            (32, 64, 128, 256),
            (
                partial(edge, ratio=0.5, shortcut=PooledProjection),
                partial(dark, ratio=0.5, shortcut=PooledProjection),
                partial(basic, ratio=0.25, shortcut=PooledProjection),
                partial(bottle, group_width=64, shortcut=PooledProjection),
            ),
            stem=partial(Stem, features=(24,)),
            strides=(2, 2, 2, 2),
            gate=SE_4,
        ),
    },
    "Xie et al. 2017 (ResNeXt)": {"resnext26ts": resnext26ts()},
    "Hu et al. 2018 (SE)": {
        "seresnet33ts": resnet33ts(gate=SE),
        "seresnext26ts": resnext26ts(gate=SE),
    },
    "Wang et al. 2020 (ECA)": {
        "eca_resnet33ts": resnet33ts(gate=ECA),
        "eca_resnext26ts": resnext26ts(gate=ECA),
    },
    "Cao et al. 2019 (GCNet)": {
        "gcresnet33ts": resnet33ts(gate=context),
        "gcresnet50t": plain(R50, WIDE.stages, bottle, stem=TIERED, gate=context),
        "gcresnext26ts": resnext26ts(gate=context),
        "gcresnext50ts": resnext26ts(depths=R50, gate=context),
    },
    "Chi et al. 2020 (BAT)": {"bat_resnext26ts": resnext26ts(gate=bilinear)},
}
