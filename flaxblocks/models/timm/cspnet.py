"""timm's cross-stage partial networks, and the Darknets that they come from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from flaxblocks.blocks import BottleNeck, CrossStagePartial, DarkBlock, Head, Stem
from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers import ConvNormAct
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.dilation import dilate_all
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.resnet import squeeze_excite
from flaxblocks.ops import max_pool
from flaxblocks.ops.activations import Activation, leaky_relu, silu

INITIALIZATION = Initialization(
    conv=kaiming_normal, linear=Normal(0.01), linear_bias=zeros, residual_scale=zeros
)


C3 = partial(CrossStagePartial, mixes=False)
LINEAR = partial(CrossStagePartial, linear=True)


@dataclass(frozen=True)
class Row:
    """A stage.

    Args:
        features: channels of the output.
        depth: blocks.
        stride: step of the convolution before them in pixels; there is none where it is 1.
        expand: channels of both halves, in parts of `features`.
        width: channels of a block's output, in parts of `features`.
        narrow: channels between a block's convolutions, in parts of its output's.
        groups: groups of the larger kernels.
    """

    features: int
    depth: int
    stride: int = 2
    expand: float = 1.0
    width: float = 0.5
    narrow: float = 1.0
    groups: int = 1


def _dark(row: Row, gate: ModuleFactory | None, act: Activation) -> ModuleFactory:
    hidden = round(round(row.features * row.width) * row.narrow)
    return partial(DarkBlock, hidden_features=hidden, groups=row.groups, act=act, se=gate)


def _edge(row: Row, gate: ModuleFactory | None, act: Activation) -> ModuleFactory:
    return partial(_dark(row, gate, act), kernel_sizes=(3, 1))


def _bottleneck(row: Row, gate: ModuleFactory | None, act: Activation) -> ModuleFactory:
    return partial(
        BottleNeck,
        hidden_features=round(round(row.features * row.width) * row.narrow),
        groups=row.groups,
        use_bias=False,
        act=act,
        final_act=act,
        shortcut=None,
        spatial_se=gate,
    )


def _dilate(row: StageRow, before: int, dilation: int) -> StageRow:
    """Return the dilated stage; what stands before the blocks has the dilation before it."""
    row = dilate_all(row, before, dilation)
    downsample = row.downsample
    if downsample is not None and getattr(downsample, "func", None) is ConvNormAct:
        downsample = partial(downsample, dilation=before)
    return replace(row, downsample=downsample)


def cspnet(
    stem: tuple[int, ...],
    rows: tuple[Row, ...],
    block: Callable[..., ModuleFactory] = _bottleneck,
    *,
    image: Callable[..., Stem] = Stem,
    cross: ModuleFactory | None = C3,
    grows: bool = False,
    averages: bool = False,
    squeeze: float | None = None,
    act: Activation = silu,
) -> Architecture:
    """Describe a cross-stage partial network.

    Args:
        stem: channels after each convolution of the stem.
        rows: the stages.
        block: makes the maker of a stage's blocks.
        image: makes the stem.
        cross: makes what is around the blocks of a stage; None for nothing (Darknet).
        grows: whether what stands before the blocks widens the map already.
        averages: whether it averages 2x2 pixels.
        squeeze: squeezed channels of a gate as a part of its input's; None for no gates.
        act: activation of every convolution.
    """
    gate = None if squeeze is None else partial(squeeze_excite, ratio=squeeze, act=act)
    unit = partial(ConvNormAct, kernel_size=3, use_bias=False, act=act)

    def stage(row: Row, before: int) -> StageRow:
        down = partial(unit, groups=row.groups)
        if averages:
            down = partial(PooledProjection, ceil_mode=False, act=act)
        inner = None
        if cross is not None:
            widths = (round(row.features * part) for part in (row.expand, row.width))
            wide, width = widths
            inner = partial(cross, expand_features=wide, block_features=width, act=act)
        return StageRow(
            row.features,
            row.stride,
            (block(row, gate, act),) * row.depth,
            downsample=None if row.stride == 1 else down,
            downsample_features=row.features if grows or cross is None else before,
            around=inner,
            dilate=_dilate,
        )

    befores = (stem[-1], *(row.features for row in rows))
    return Architecture(
        stem=partial(image, features=stem, act=act),
        stages=tuple(map(stage, rows, befores)),
        head=Head,
        initialization=INITIALIZATION,
        family="cspnet",
    )


WHOLE_PIXELS = partial(Stem, stride=1)
FOCUS = partial(Stem, kernel_size=6, padding=2)

darknet = partial(cspnet, (32,), block=_dark, image=WHOLE_PIXELS, cross=None, act=leaky_relu)


def _rows(features: tuple[int, ...], depths: tuple[int, ...], narrow: float) -> tuple[Row, ...]:
    return tuple(Row(f, d, width=1.0, narrow=narrow) for f, d in zip(features, depths, strict=True))


def _dark_rows(*depths: int) -> tuple[Row, ...]:
    return _rows((64, 128, 256, 512, 1024), depths, 0.5)


def _resnet_rows(features: tuple[int, ...], **parts: float) -> tuple[Row, ...]:
    depths, strides = (3, 3, 5, 2), (1, 2, 2, 2)
    return tuple(Row(*row, **parts) for row in zip(features, depths, strides, strict=True))  # pyright: ignore[reportArgumentType]


def cs3(
    width: float = 1.0,
    depth: float = 1.0,
    block: Callable[..., ModuleFactory] = _dark,
    *,
    focus: bool = False,
    narrow: float = 1.0,
    squeeze: float | None = None,
) -> Architecture:
    """Describe a network whose blocks no 1x1 convolution follows.

    Args:
        width: factor of the channels.
        depth: factor of the blocks.
        block: makes the maker of a stage's blocks.
        focus: whether the stem is one convolution of 6x6.
        narrow: see `Row`.
        squeeze: see `cspnet`.
    """
    stem = tuple(make_divisible(f * width) for f in ((64,) if focus else (32, 64)))
    features = (make_divisible(f * width) for f in (128, 256, 512, 1024))
    depths = (int(d * depth) for d in (3, 6, 9, 3))
    rows = tuple(Row(*row, narrow=narrow) for row in zip(features, depths, strict=True))
    return cspnet(stem, rows, block, image=FOCUS if focus else Stem, squeeze=squeeze)


SMALL, MEDIUM, LARGE, HUGE = (0.5, 0.5), (0.75, 0.67), (1.0, 1.0), (1.25, 1.33)

csp_resnet = partial(cspnet, cross=LINEAR, act=leaky_relu)
POOLED = partial(Stem, pool=max_pool)
POOLED_7X7 = partial(POOLED, kernel_size=7)
WIDE = (256, 512, 1024, 2048)

NETWORKS: Networks = {
    "Redmon and Farhadi 2018 (YOLOv3)": {
        "darknet17": darknet(_dark_rows(1, 1, 1, 1, 1)),
        "darknet21": darknet(_dark_rows(1, 1, 1, 2, 2)),
        "sedarknet21": darknet(_dark_rows(1, 1, 1, 2, 2), squeeze=1 / 16),
        "darknet53": darknet(_dark_rows(1, 2, 8, 8, 4)),
        "darknetaa53": darknet(_dark_rows(1, 2, 8, 8, 4), averages=True),
    },
    "Wang et al. 2020 (CSPNet)": {
        "cspresnet50": csp_resnet(
            (64,),
            _resnet_rows((128, 256, 512, 1024), expand=2.0, width=1.0, narrow=0.5),
            image=POOLED_7X7,
        ),
        "cspresnet50d": csp_resnet(
            (32, 32, 64),
            _resnet_rows((128, 256, 512, 1024), expand=2.0, width=1.0, narrow=0.5),
            image=POOLED,
        ),
        "cspresnet50w": csp_resnet((32, 32, 64), _resnet_rows(WIDE, narrow=0.25), image=POOLED),
        "cspresnext50": csp_resnet((64,), _resnet_rows(WIDE, groups=32), image=POOLED_7X7),
        "cspdarknet53": cspnet(
            (32,),
            (
                Row(64, 1, expand=2.0, width=1.0, narrow=0.5),
                *(Row(f, d) for f, d in ((128, 2), (256, 8), (512, 8), (1024, 4))),
            ),
            _dark,
            image=WHOLE_PIXELS,
            cross=CrossStagePartial,
            grows=True,
            act=leaky_relu,
        ),
        "cs3darknet_s": cs3(*SMALL),
        "cs3darknet_m": cs3(*MEDIUM),
        "cs3darknet_l": cs3(*LARGE),
        "cs3darknet_x": cs3(*HUGE),
        "cs3darknet_focus_s": cs3(*SMALL, focus=True),
        "cs3darknet_focus_m": cs3(*MEDIUM, focus=True),
        "cs3darknet_focus_l": cs3(*LARGE, focus=True),
        "cs3darknet_focus_x": cs3(*HUGE, focus=True),
        "cs3sedarknet_l": cs3(*LARGE, squeeze=0.25),
        "cs3sedarknet_x": cs3(*HUGE, squeeze=1 / 16),
        "cs3sedarknet_xdw": cspnet(
            (32, 64),
            (
                Row(256, 3, narrow=0.5),
                Row(512, 6, narrow=0.5),
                Row(1024, 12, narrow=0.5, groups=256),
                Row(2048, 4, narrow=0.5, groups=512),
            ),
            cross=CrossStagePartial,
            squeeze=1 / 16,
        ),
        "cs3edgenet_x": cs3(*HUGE, _edge, narrow=1.5),
        "cs3se_edgenet_x": cs3(*HUGE, _edge, narrow=1.5, squeeze=0.25),
    },
}
