"""FCN, DeepLabV3 and LR-ASPP: dilated networks with heads that classify every pixel."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from flaxblocks.blocks import Head
from flaxblocks.blocks.dense_head import DeepLabHead, FCNHead, LRASPPHead
from flaxblocks.layers import ConvNormAct
from flaxblocks.models import mobilenet_v3, resnet
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.segmenter import Segmentation
from flaxblocks.ops.activations import hard_swish

CLASSES = 21
"""Pascal VOC's 20, after the background."""


def segmentation(
    trunk: Architecture,
    head: Callable[..., Head],
    output_stride: int,
    *,
    drop_rate: float = 0.0,
    auxiliary: int | None = None,
    head_stages: tuple[int, ...] = (-1,),
) -> Segmentation:
    """Describe a network that classifies every pixel.

    Args:
        trunk: the network whose stem and stages it has.
        head: makes the last layers, see `Segmentation`.
        output_stride: pixels of the image per pixel of the last stage's output.
        drop_rate: dropout of the head where the caller gives none.
        auxiliary: the stage whose map an `FCNHead` reads for training; None for none.
        head_stages: the stages whose maps the head reads.
    """
    return Segmentation(
        stem=trunk.stem,
        stages=trunk.stages,
        head=head,
        initialization=trunk.initialization,
        auxiliary=() if auxiliary is None else ((auxiliary, FCNHead),),
        drop_rate=drop_rate,
        family=f"segmentation_{trunk.family}",
        output_stride=output_stride,
        num_classes=CLASSES,
        head_stages=head_stages,
    )


def _resnet(name: str) -> Architecture:
    return resnet.NETWORKS["He et al. 2016"][name]


def _same(row: StageRow, before: int, dilation: int) -> StageRow:
    return row


def _mobilenet_v3_trunk() -> Architecture:
    """Return MobileNetV3 with its head's convolution as a last stage.

    The third stage ends after its first block, whose map torchvision's heads read.
    """
    (*first, third, fourth, fifth, sixth) = mobilenet_v3.TABLE_1
    (row,) = third
    stages = (*first, (replace(row, depth=1),), (replace(row, depth=row.depth - 1, stride=1),))
    trunk = mobilenet_v3.mobilenet_v3((*stages, fourth, fifth, sixth), 1280)
    conv = partial(
        ConvNormAct, kernel_size=1, use_bias=False, norm=mobilenet_v3.BATCH_NORM, act=hard_swish
    )
    last = StageRow(6 * sixth[-1].features, 1, (conv,), dilate=_same)
    return replace(trunk, stages=(*trunk.stages, last))


MOBILENET_V3 = _mobilenet_v3_trunk()

fcn = partial(segmentation, head=FCNHead, output_stride=8, drop_rate=0.1, auxiliary=2)
deeplab_v3 = partial(segmentation, head=DeepLabHead, drop_rate=0.5, auxiliary=2)

NETWORKS: Networks = {
    "Long et al. 2015 (FCN)": {
        "fcn_resnet50": fcn(_resnet("resnet50")),
        "fcn_resnet101": fcn(_resnet("resnet101")),
    },
    "Chen et al. 2017 (DeepLabV3)": {
        "deeplabv3_resnet50": deeplab_v3(_resnet("resnet50"), output_stride=8),
        "deeplabv3_resnet101": deeplab_v3(_resnet("resnet101"), output_stride=8),
        "deeplabv3_mobilenet_v3_large": deeplab_v3(MOBILENET_V3, output_stride=16),
    },
    "Howard et al. 2019 (LR-ASPP)": {
        "lraspp_mobilenet_v3_large": segmentation(
            MOBILENET_V3,
            partial(LRASPPHead, low_features=40),
            16,
            head_stages=(2, -1),
        )
    },
}
