"""timm's ResNets: the variants of stem, shortcut, gate and pooling, and a row for each network."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.residual import PooledProjection, projection
from flaxblocks.layers import BatchNorm, SqueezeExcite
from flaxblocks.layers.channel_attention import EfficientChannelAttention
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.layers.initializers import Initialization, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Dilate, Networks, StageRow
from flaxblocks.models.resnet import NARROW, STRIDES, WIDE, Widths, basic, bottleneck, dilation_of
from flaxblocks.models.scaling import make_divisible
from flaxblocks.ops import average_pool, blur_pool, max_pool
from flaxblocks.ops.activations import Activation

NORMAL = bottleneck()

INITIALIZATION = Initialization(conv=kaiming_normal, residual_scale=zeros)


@dataclass(frozen=True)
class Style:
    """Where a ResNet departs from the first one, by the letters of the source.

    Args:
        stem: channels after each convolution of the stem: one of 7x7, or several of 3x3.
        shortcut: makes the other branch where the shape changes.

    Source: He et al. 2019, section 4.1 (C and D); the other letters are timm's and GluonCV's.
    """

    stem: tuple[int, ...] = (64,)
    shortcut: ModuleFactory = projection


B = Style()
C = Style((32, 32, 64))
D = Style((32, 32, 64), PooledProjection)
E = Style((64, 64, 128), PooledProjection)
S = Style((64, 64, 128))
T = Style((24, 32, 64), PooledProjection)
LIGHT = Style((64,), PooledProjection)


@dataclass(frozen=True)
class Halving:
    """How a ResNet halves the size where it does not leave it to a convolution's stride.

    Args:
        stem: what ends the stem; None for one more convolution of stride 2 (ResNet-RS).
        block: what follows the 3x3 convolution in a stage's first block; None for its stride.
    """

    stem: Activation | None = max_pool
    block: Activation | None = None


def blurred_max_pool(x: jax.Array) -> jax.Array:
    """Return the largest values of the windows around every pixel, blurred and halved.

    Source: Zhang 2019, section 3.2, "MaxBlurPool".
    """
    return blur_pool(max_pool(x, stride=1))


MAX = Halving()
AVERAGE = Halving(average_pool, average_pool)
BLUR = Halving(blurred_max_pool, blur_pool)
CONVOLVE = Halving(None)


def squeeze_excite(
    features: int,
    *,
    ratio: float = 1 / 16,
    dtype: jnp.dtype | type | None = None,
    param_dtype: jnp.dtype | type = jnp.float32,
    rngs: nnx.Rngs,
) -> SqueezeExcite:
    """Make a gate whose narrow width is a multiple of 8."""
    return SqueezeExcite(
        features,
        squeeze_features=make_divisible(ratio * features),
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=rngs,
    )


SE = squeeze_excite
SE_RS = partial(squeeze_excite, ratio=0.25)
ECA = EfficientChannelAttention


def _stem(style: Style, halving: Halving, norm: ModuleFactory) -> partial[Stem]:
    """Return the maker of a stem; only its first convolution and what ends it have a stride."""
    features, strides = style.stem, (2, *(1 for _ in style.stem[1:]))
    if halving.stem is None:
        features, strides = (*features, features[-1]), (*strides, 2)
    return partial(
        Stem,
        features=features,
        kernel_size=7 if len(style.stem) == 1 else 3,
        stride=strides,
        norm=norm,
        pool=halving.stem,
    )


def _dilation_of(block: ModuleFactory, style: Style, halving: Halving) -> Dilate:
    if halving.block is not None:
        return _refuse_dilation
    return partial(_dilate, dilation_of(block), style.shortcut is PooledProjection)


def _dilate(rule: Dilate, pools: bool, row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage, whose pooled shortcut keeps pooling though its stride is 1."""
    row = rule(row, before, dilation)
    if not pools:
        return row
    first, *rest = row.blocks
    shortcut = partial(PooledProjection, dilated=True)
    return replace(row, blocks=(partial(first, shortcut=shortcut), *rest))


def _refuse_dilation(row: StageRow, before: int, dilation: int) -> StageRow:
    raise ValueError("`output_stride` must be None or 32 for a network whose blocks pool")


def resnet(
    depths: tuple[int, int, int, int],
    block: ModuleFactory | tuple[ModuleFactory, ...] = NORMAL,
    style: Style = B,
    *,
    gate: ModuleFactory | None = None,
    halving: Halving = MAX,
    widths: Widths = WIDE,
    norm: ModuleFactory = BatchNorm,
) -> Architecture:
    """Describe a residual network as timm has it.

    Args:
        depths: blocks of each stage.
        block: makes a block, see `StageRow`: one for all stages or one for each.
        style: the stem's convolutions and the shortcuts.
        gate: makes the gate at the end of each residual branch; None for none.
        halving: how the size is halved.
        widths: channels of the stages; the stem's are the style's.
        norm: makes each normalization.
    """
    blocks = block if isinstance(block, tuple) else (block,) * len(depths)
    parts = {"shortcut": style.shortcut, "pool": halving.block, "se": gate, "norm": norm}
    return Architecture(
        stem=_stem(style, halving, norm),
        stages=tuple(
            StageRow(
                features,
                stride,
                (partial(make, **parts),) * depth,
                dilate=_dilation_of(make, style, halving),
            )
            for make, features, stride, depth in zip(
                blocks, widths.stages, STRIDES, depths, strict=True
            )
        ),
        head=Head,
        initialization=INITIALIZATION,
        family="resnet",
    )


resnet_narrow = partial(resnet, block=basic, widths=NARROW)
resnet_rs = partial(resnet, style=D, gate=SE_RS, halving=CONVOLVE)

R10, R18, R26, R34 = (1, 1, 1, 1), (2, 2, 2, 2), (2, 2, 2, 2), (3, 4, 6, 3)
R50, R101, R152, R200, R269 = R34, (3, 4, 23, 3), (3, 8, 36, 3), (3, 24, 36, 3), (3, 30, 48, 8)

PLAIN = {
    "resnet10t": resnet_narrow(R10, style=T),
    "resnet14t": resnet(R10, style=T),
    "resnet18": resnet_narrow(R18),
    "resnet18d": resnet_narrow(R18, style=D),
    "resnet26": resnet(R26),
    "resnet26d": resnet(R26, style=D),
    "resnet26t": resnet(R26, style=T),
    "resnet34": resnet_narrow(R34),
    "resnet34d": resnet_narrow(R34, style=D),
    "resnet50": resnet(R50),
    "resnet50_gn": resnet(R50, norm=GroupNorm),
    "resnet50c": resnet(R50, style=C),
    "resnet50d": resnet(R50, style=D),
    "resnet50s": resnet(R50, style=S),
    "resnet50t": resnet(R50, style=T),
    "resnet101": resnet(R101),
    "resnet101c": resnet(R101, style=C),
    "resnet101d": resnet(R101, style=D),
    "resnet101s": resnet(R101, style=S),
    "resnet152": resnet(R152),
    "resnet152c": resnet(R152, style=C),
    "resnet152d": resnet(R152, style=D),
    "resnet152s": resnet(R152, style=S),
    "resnet200": resnet(R200),
    "resnet200d": resnet(R200, style=D),
    "test_resnet": resnet(
        R10,
        (basic, basic, NORMAL, basic),
        Style((16, 16, 32), PooledProjection),
        widths=Widths(32, (32, 48, 192, 96)),
    ),
    "resnetaa34d": resnet_narrow(R34, style=D, halving=AVERAGE),
    "resnetaa50": resnet(R50, halving=AVERAGE),
    "resnetaa50d": resnet(R50, style=D, halving=AVERAGE),
    "resnetaa101d": resnet(R101, style=D, halving=AVERAGE),
}
WIDER = {
    "wide_resnet50_2": resnet(R50, bottleneck(128)),
    "wide_resnet101_2": resnet(R101, bottleneck(128)),
}
GROUPED = {
    "resnext50_32x4d": resnet(R50, bottleneck(4, 32)),
    "resnext50d_32x4d": resnet(R50, bottleneck(4, 32), D),
    "resnext101_32x4d": resnet(R101, bottleneck(4, 32)),
    "resnext101_32x8d": resnet(R101, bottleneck(8, 32)),
    "resnext101_32x16d": resnet(R101, bottleneck(16, 32)),
    "resnext101_32x32d": resnet(R101, bottleneck(32, 32)),
    "resnext101_64x4d": resnet(R101, bottleneck(4, 64)),
}
GATED = {
    "seresnet18": resnet_narrow(R18, gate=SE),
    "seresnet34": resnet_narrow(R34, gate=SE),
    "seresnet50": resnet(R50, gate=SE),
    "seresnet50t": resnet(R50, style=T, gate=SE),
    "seresnet101": resnet(R101, gate=SE),
    "seresnet152": resnet(R152, gate=SE),
    "seresnet152d": resnet(R152, style=D, gate=SE),
    "seresnet200d": resnet(R200, style=D, gate=SE),
    "seresnet269d": resnet(R269, style=D, gate=SE),
    "seresnext26d_32x4d": resnet(R26, bottleneck(4, 32), D, gate=SE),
    "seresnext26t_32x4d": resnet(R26, bottleneck(4, 32), T, gate=SE),
    "seresnext50_32x4d": resnet(R50, bottleneck(4, 32), gate=SE),
    "seresnext101_32x4d": resnet(R101, bottleneck(4, 32), gate=SE),
    "seresnext101_32x8d": resnet(R101, bottleneck(8, 32), gate=SE),
    "seresnext101_64x4d": resnet(R101, bottleneck(4, 64), gate=SE),
    "seresnext101d_32x8d": resnet(R101, bottleneck(8, 32), D, gate=SE),
    "seresnetaa50d": resnet(R50, style=D, gate=SE, halving=AVERAGE),
    "seresnextaa101d_32x8d": resnet(R101, bottleneck(8, 32), D, gate=SE, halving=AVERAGE),
    "seresnextaa201d_32x8d": resnet((3, 24, 36, 4), bottleneck(8, 32), E, gate=SE, halving=AVERAGE),
}
ATTENTIVE = {
    "ecaresnet26t": resnet(R26, style=T, gate=ECA),
    "ecaresnet50d": resnet(R50, style=D, gate=ECA),
    "ecaresnet50t": resnet(R50, style=T, gate=ECA),
    "ecaresnet101d": resnet(R101, style=D, gate=ECA),
    "ecaresnet200d": resnet(R200, style=D, gate=ECA),
    "ecaresnet269d": resnet(R269, style=D, gate=ECA),
    "ecaresnetlight": resnet((1, 1, 11, 3), style=LIGHT, gate=ECA),
    "ecaresnext26t_32x4d": resnet(R26, bottleneck(4, 32), T, gate=ECA),
    "ecaresnext50t_32x4d": resnet(R50, bottleneck(4, 32), T, gate=ECA),
}
SCALED = {  # table 7
    "resnetrs50": resnet_rs(R50),
    "resnetrs101": resnet_rs(R101),
    "resnetrs152": resnet_rs(R152),
    "resnetrs200": resnet_rs(R200),
    "resnetrs270": resnet_rs((4, 29, 53, 4)),
    "resnetrs350": resnet_rs((4, 36, 72, 4)),
    "resnetrs420": resnet_rs((4, 44, 87, 4)),
}
BLURRED = {
    "resnetblur18": resnet_narrow(R18, halving=BLUR),
    "resnetblur50": resnet(R50, halving=BLUR),
    "resnetblur50d": resnet(R50, style=D, halving=BLUR),
    "resnetblur101d": resnet(R101, style=D, halving=BLUR),
}

NETWORKS: Networks = {
    "He et al. 2016": PLAIN,
    "Zagoruyko and Komodakis 2016 (Wide-ResNet)": WIDER,
    "Xie et al. 2017 (ResNeXt)": GROUPED,
    "Hu et al. 2018 (SENet)": GATED,
    "Wang et al. 2020 (ECA-Net)": ATTENTIVE,
    "Bello et al. 2021 (ResNet-RS)": SCALED,
    "Zhang 2019 (BlurPool)": BLURRED,
}
