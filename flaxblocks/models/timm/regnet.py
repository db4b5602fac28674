"""timm's RegNets: the published X and Y, and its own Z (inverted)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.initializers import Initialization, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models import regnet as base
from flaxblocks.models.architecture import Architecture, StageRow
from flaxblocks.models.regnet import Line, bottleneck, regnet_block
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops.activations import Activation, relu, silu

INITIALIZATION = replace(
    base.INITIALIZATION, conv_bias=zeros, residual_scale=zeros, fan_out_of_group=True
)


def nearest(width: int, group_width: int) -> int:
    """Return the multiple of `group_width` nearest to `width`."""
    return round(width / group_width) * group_width


def silu_neck(
    features: int,
    *,
    dtype: jnp.dtype | type | None = None,
    param_dtype: jnp.dtype | type = jnp.float32,
    rngs: nnx.Rngs,
) -> Activation:
    """Return the activation that the last block left out, as `Head` takes its neck."""
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
        norm: makes each normalisation.
        act: activation of all layers but the blocks' last, which is the block's own matter.
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
    )


regnet_y = partial(regnet, se_ratio=0.25)
regnet_z = partial(
    regnet_y,
    block=partial(bottleneck, final_act=None, shortcut=None),
    act=silu,
    initialization=replace(INITIALIZATION, residual_scale=None),
)

MODELS: Mapping[str, Architecture] = MappingProxyType(
    {
        # Radosavovic et al. 2020, figure 16: RegNetX
        "regnetx_002": regnet(Line(13, 24, 36.44, 2.49, 8)),
        "regnetx_004": regnet(Line(22, 24, 24.48, 2.54, 16)),
        "regnetx_004_tv": regnet(Line(22, 24, 24.48, 2.54, 16), rounded=make_divisible),
        "regnetx_006": regnet(Line(16, 48, 36.97, 2.24, 24)),
        "regnetx_008": regnet(Line(16, 56, 35.73, 2.28, 16)),
        "regnetx_016": regnet(Line(18, 80, 34.01, 2.25, 24)),
        "regnetx_032": regnet(Line(25, 88, 26.31, 2.25, 48)),
        "regnetx_040": regnet(Line(23, 96, 38.65, 2.43, 40)),
        "regnetx_064": regnet(Line(17, 184, 60.83, 2.07, 56)),
        "regnetx_080": regnet(Line(23, 80, 49.56, 2.88, 120)),
        "regnetx_120": regnet(Line(19, 168, 73.36, 2.37, 112)),
        "regnetx_160": regnet(Line(22, 216, 55.59, 2.1, 128)),
        "regnetx_320": regnet(Line(23, 320, 69.86, 2.0, 168)),
        # Radosavovic et al. 2020, figure 18: RegNetY
        "regnety_002": regnet_y(Line(13, 24, 36.44, 2.49, 8)),
        "regnety_004": regnet_y(Line(16, 48, 27.89, 2.09, 8)),
        "regnety_006": regnet_y(Line(15, 48, 32.54, 2.32, 16)),
        "regnety_008": regnet_y(Line(14, 56, 38.84, 2.4, 16)),
        "regnety_008_tv": regnet_y(Line(14, 56, 38.84, 2.4, 16), rounded=make_divisible),
        "regnety_016": regnet_y(Line(27, 48, 20.71, 2.65, 24)),
        "regnety_032": regnet_y(Line(21, 80, 42.63, 2.66, 24)),
        "regnety_040": regnet_y(Line(22, 96, 31.41, 2.24, 64)),
        "regnety_064": regnet_y(Line(25, 112, 33.22, 2.27, 72)),
        "regnety_080": regnet_y(Line(17, 192, 76.82, 2.19, 56)),
        "regnety_080_tv": regnet_y(Line(17, 192, 76.82, 2.19, 56), rounded=make_divisible),
        "regnety_120": regnet_y(Line(19, 168, 73.36, 2.37, 112)),
        "regnety_160": regnet_y(Line(18, 200, 106.23, 2.48, 112)),
        "regnety_320": regnet_y(Line(20, 232, 115.89, 2.53, 232)),
        # Goyal et al. 2022 (SEER)
        "regnety_640": regnet_y(Line(20, 352, 147.48, 2.4, 328)),
        "regnety_1280": regnet_y(Line(27, 456, 160.83, 2.52, 264)),
        "regnety_2560": regnet_y(Line(27, 640, 230.83, 2.53, 373)),
        # timm's own
        "regnety_040_sgn": regnet_y(
            Line(22, 96, 31.41, 2.24, 64),
            block=partial(bottleneck, final_act=silu),
            norm=partial(GroupNorm, group_size=16),
            act=silu,
        ),
        # Dollar et al. 2021, as timm understands it: RegNetZ
        "regnetz_005": regnet_z(
            Line(21, 16, 10.7, 2.51, 4, expansion=4),
            head=partial(Head, conv_features=1024, act=silu),
        ),
        "regnetz_040": regnet_z(
            Line(28, 48, 14.5, 2.226, 8, expansion=4), head=partial(Head, neck=silu_neck)
        ),
        "regnetz_040_h": regnet_z(
            Line(28, 48, 14.5, 2.226, 8, expansion=4),
            head=partial(Head, conv_features=1536, act=silu),
        ),
    }
)
