"""timm's older SE-ResNets, which pool and stride as those trained with Caffe did."""

from dataclasses import replace
from functools import partial

from flaxblocks.layers import SqueezeExcite
from flaxblocks.layers.initializers import Initialization, kaiming_normal
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.resnet import NARROW, WIDE, Widths, basic, bottleneck
from flaxblocks.models.timm.resnet import WIDER_S, B, Blocks, Halving, Style, resnet
from flaxblocks.models.timm.resnet_table import R18, R26, R34, R50, R101, R152, SENET
from flaxblocks.ops import max_pool
from flaxblocks.ops.activations import relu

FROM_THE_CORNER = Halving(partial(max_pool, padding=0, ceil_mode=True))
"""The windows begin at the image's corner, and the last ones may end beyond it."""

BASIC = partial(basic, second_act=relu)
EARLY = partial(bottleneck(), early_stride=True)


def senet(
    depths: tuple[int, ...],
    block: Blocks | tuple[Blocks, ...],
    style: Style = B,
    widths: Widths = WIDE,
) -> Architecture:
    """Describe one of the older SE-ResNets.

    Args:
        depths: blocks of each stage.
        block: makes the blocks: for all stages or for each.
        style: the stem's convolutions and the shortcuts.
        widths: channels of the stages.
    """
    gate = partial(SqueezeExcite, ratio=1 / 16)
    network = resnet(depths, block, style, gate=gate, halving=FROM_THE_CORNER, widths=widths)
    initialization = Initialization(conv=kaiming_normal)
    return replace(network, initialization=initialization, drop_rate=0.2, family="senet")


NETWORKS: Networks = {
    "Hu et al. 2018 (SENet)": {
        "legacy_seresnet18": senet(R18, BASIC, widths=NARROW),
        "legacy_seresnet34": senet(R34, BASIC, widths=NARROW),
        "legacy_seresnet50": senet(R50, EARLY),
        "legacy_seresnet101": senet(R101, EARLY),
        "legacy_seresnet152": senet(R152, EARLY),
        "legacy_senet154": senet(R152, SENET, WIDER_S),
        "legacy_seresnext26_32x4d": senet(R26, bottleneck(4, 32)),
        "legacy_seresnext50_32x4d": senet(R50, bottleneck(4, 32)),
        "legacy_seresnext101_32x4d": senet(R101, bottleneck(4, 32)),
    },
}
