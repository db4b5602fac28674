"""timm's PP-HGNets: one-shot aggregation in every block."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.branched_stem import BranchedStem
from flaxblocks.blocks.one_shot import LightUnit, OneShotAggregation
from flaxblocks.layers import ConvNormAct
from flaxblocks.layers.affine import AffineConvNormAct
from flaxblocks.layers.effective_squeeze_excite import EffectiveSqueezeExcite
from flaxblocks.layers.initializers import Initialization, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.dilation import refuse
from flaxblocks.ops import max_pool

INITIALIZATION = Initialization(conv=kaiming_normal, linear_bias=zeros)

HIDDEN = 2048  # channels of the head


@dataclass(frozen=True)
class Row:
    """A stage.

    Args:
        hidden: channels after each layer of a block.
        features: channels of the output.
        depth: blocks.
    """

    hidden: int
    features: int
    depth: int = 1


def _stages(
    stem: int, rows: tuple[Row, ...], block: Callable[[int, Row], ModuleFactory]
) -> tuple[StageRow, ...]:
    """Return the stages; all but the first begin with a depthwise convolution of stride 2."""
    before = (stem, *(row.features for row in rows))
    shrink = partial(ConvNormAct, kernel_size=3, use_bias=False, act=None)
    return tuple(
        StageRow(
            row.features,
            2 if number else 1,
            (block(number, row),) * row.depth,
            downsample=partial(shrink, groups=width) if number else None,
            downsample_features=width,
            dilate=refuse,
        )
        for number, (row, width) in enumerate(zip(rows, before[:-1], strict=True))
    )


def hgnet(stem: tuple[int, ...], layers: int, rows: tuple[Row, ...]) -> Architecture:
    """Describe a PP-HGNet.

    Args:
        stem: channels after each convolution of the stem.
        layers: layers of each block.
        rows: the stages.
    """

    def block(number: int, row: Row) -> ModuleFactory:
        gate = EffectiveSqueezeExcite
        return partial(OneShotAggregation, hidden_features=row.hidden, depth=layers, gate=gate)

    return Architecture(
        stem=partial(Stem, features=stem, pool=max_pool),
        stages=_stages(stem[-1], rows, block),
        head=_head(ConvNormAct),
        initialization=INITIALIZATION,
        family="hgnet",
    )


def hgnetv2(
    stem: tuple[int, int],
    layers: int,
    rows: tuple[Row, ...],
    unit: ModuleFactory = ConvNormAct,
) -> Architecture:
    """Describe a PP-HGNetV2, whose last two stages have light layers of 5x5.

    Args:
        stem: channels in the stem and after it.
        layers: layers of each block.
        rows: the stages.
        unit: makes the activated convolutions.
    """

    def block(number: int, row: Row) -> ModuleFactory:
        dense = partial(unit, kernel_size=3, use_bias=False)
        return partial(
            OneShotAggregation,
            hidden_features=row.hidden,
            depth=layers,
            layer=dense if number < 2 else partial(LightUnit, kernel_size=5, unit=unit),
            unit=unit,
            squeeze_features=row.features // 2,
        )

    hidden, features = stem
    image: Any = partial(BranchedStem, out_features=features, hidden_features=hidden, unit=unit)
    return Architecture(
        stem=image,
        stages=_stages(features, rows, block),
        head=_head(unit),
        initialization=INITIALIZATION,
        family="hgnet",
    )


def _head(unit: ModuleFactory) -> Callable[..., Head]:
    """Return what makes the head, of which a hidden layer with activation follows the mean."""
    hidden = partial(unit, kernel_size=1, use_bias=False, norm=None)
    return partial(Head, hidden_features=HIDDEN, hidden=hidden, act=None)


v2_affine = partial(hgnetv2, unit=AffineConvNormAct)

NETWORKS: Networks = {
    "Cui et al. 2021 (PP-HGNet)": {
        "hgnet_tiny": hgnet(
            (48, 48, 96), 5, (Row(96, 224), Row(128, 448), Row(160, 512, 2), Row(192, 768))
        ),
        "hgnet_small": hgnet(
            (64, 64, 128), 6, (Row(128, 256), Row(160, 512), Row(192, 768, 2), Row(224, 1024))
        ),
        "hgnet_base": hgnet(
            (96, 96, 160), 7, (Row(192, 320), Row(224, 640, 2), Row(256, 960, 3), Row(288, 1280, 2))
        ),
        "hgnetv2_b0": v2_affine(
            (16, 16), 3, (Row(16, 64), Row(32, 256), Row(64, 512, 2), Row(128, 1024))
        ),
        "hgnetv2_b1": v2_affine(
            (24, 32), 3, (Row(32, 64), Row(48, 256), Row(96, 512, 2), Row(192, 1024))
        ),
        "hgnetv2_b2": v2_affine(
            (24, 32), 4, (Row(32, 96), Row(64, 384), Row(128, 768, 3), Row(256, 1536))
        ),
        "hgnetv2_b3": v2_affine(
            (24, 32), 5, (Row(32, 128), Row(64, 512), Row(128, 1024, 3), Row(256, 2048))
        ),
        "hgnetv2_b4": hgnetv2(
            (32, 48), 6, (Row(48, 128), Row(96, 512), Row(192, 1024, 3), Row(384, 2048))
        ),
        "hgnetv2_b5": hgnetv2(
            (32, 64), 6, (Row(64, 128), Row(128, 512, 2), Row(256, 1024, 5), Row(512, 2048, 2))
        ),
        "hgnetv2_b6": hgnetv2(
            (48, 96), 6, (Row(96, 192, 2), Row(192, 512, 3), Row(384, 1024, 6), Row(768, 2048, 3))
        ),
    },
}
