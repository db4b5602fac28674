"""timm's RegNets: the published X and Y, and its own Z (inverted)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from flax import nnx

from flaxblocks.blocks import Head, Stem, projection
from flaxblocks.blocks.norm_first import NormFirstBottleNeck
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.initializers import Initialization, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models import regnet as base
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.regnet import Y_SEER, Line, X, Y, bottleneck, regnet_block
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, relu, silu

INITIALIZATION = replace(
    base.INITIALIZATION, conv_bias=zeros, residual_scale=zeros, fan_out_of_group=True
)


def nearest(width: int, group_width: int) -> int:
    """Return the multiple of `group_width` nearest to `width`."""
    return round(width / group_width) * group_width


def silu_neck(features: int, **_: Any) -> Activation:
    """Return the activation that the last block leaves to the head, as a `neck` for `Head`."""
    return silu


def regnet(
    line: Line,
    se_ratio: float | None = None,
    *,
    rounded: Callable[[int, int], int] = nearest,
    block: Callable[..., nnx.Module] = bottleneck,
    norm: ModuleFactory = BatchNorm,
    act: Activation = relu,
    stem: Callable[..., Stem] | None = None,
    head: Callable[..., Head] = Head,
    initialization: Initialization = INITIALIZATION,
) -> Architecture:
    """Describe a RegNet as timm has it.

    Args:
        line: its parameters.
        se_ratio: the gates' width as a fraction of the block's input; None for no gates.
        rounded: how a width becomes a multiple of the groups', see `Line.stages`.
        block: makes a bottleneck.
        norm: makes each normalization.
        act: activation of all layers except each block's last, which the block decides.
        stem: makes the first layers; one convolution with norm and activation where None.
        head: makes the last layers.
        initialization: how the first weights are drawn.
    """
    make = partial(
        regnet_block,
        group_width=line.group_width,
        se_ratio=se_ratio,
        expansion=line.expansion,
        block=partial(block, norm=norm),
        act=act,
    )
    return Architecture(
        stem=stem or partial(Stem, features=(32,), norm=norm, act=act),
        stages=tuple(
            StageRow(width, 2, (make,) * depth) for width, depth in line.stages(rounded).items()
        ),
        head=head,
        initialization=initialization,
        family="regnet",
    )


regnet_y = partial(regnet, se_ratio=0.25)
regnet_z = partial(
    regnet_y,
    block=partial(bottleneck, final_act=None, shortcut=None),
    act=silu,
    initialization=replace(INITIALIZATION, residual_scale=None),
)

regnet_v = partial(
    regnet_y,
    act=silu,
    stem=partial(Stem, features=(32,), norm=None, act=None),
    head=partial(Head, neck=silu_neck),
)
"""Its last activation is the head's, as its blocks end in a sum."""

Z_4 = Line(28, 48, 14.5, 2.226, 8, expansion=4)

NETWORKS: Networks = {
    "Radosavovic et al. 2020": {
        **{f"regnetx_{flops:03}": regnet(line) for flops, line in X.items()},
        **{f"regnety_{flops:03}": regnet_y(line) for flops, line in Y.items()},
        "regnetx_004_tv": regnet(X[4], rounded=make_divisible),
        "regnety_008_tv": regnet_y(Y[8], rounded=make_divisible),
        "regnety_080_tv": regnet_y(Y[80], rounded=make_divisible),
        "regnety_040_sgn": regnet_y(  # timm's own
            Y[40],
            block=partial(bottleneck, final_act=silu),
            norm=partial(GroupNorm, group_size=16),
            act=silu,
        ),
    },
    "Goyal et al. 2022 (SEER)": {
        f"regnety_{flops}": regnet_y(line) for flops, line in Y_SEER.items()
    },
    "He et al. 2016 (identity mappings), RegNetV": {  # timm's own
        "regnetv_040": regnet_v(
            Line(22, 96, 31.41, 2.24, 64),
            block=partial(NormFirstBottleNeck, shortcut=projection),
        ),
        "regnetv_064": regnet_v(
            Line(25, 112, 33.22, 2.27, 72),
            block=partial(NormFirstBottleNeck, shortcut=PooledProjection),
        ),
    },
    "Dollar et al. 2021 (RegNetZ)": {  # as timm implements it
        "regnetz_005": regnet_z(
            Line(21, 16, 10.7, 2.51, 4, expansion=4),
            head=partial(Head, conv_features=1024, act=silu),
        ),
        "regnetz_040": regnet_z(Z_4, head=partial(Head, neck=silu_neck)),
        "regnetz_040_h": regnet_z(Z_4, head=partial(Head, conv_features=1536, act=silu)),
    },
}
