"""timm's StarNets: products of two layers in place of one layer's activation."""

from functools import partial

from flaxblocks.blocks import Head, StarBlock, Stem
from flaxblocks.layers import BatchNorm, ConvNormAct
from flaxblocks.layers.initializers import Initialization, Normal, zeros
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.dilation import refuse
from flaxblocks.ops.activations import relu6


def starnet(features: int, depths: tuple[int, ...], expansion: int = 4) -> Architecture:
    """Describe a StarNet.

    Args:
        features: channels of the first stage, twice as many in each later one.
        depths: blocks of each stage.
        expansion: the blocks' wide width as a multiple of the stage's.
    """
    shrink = partial(ConvNormAct, kernel_size=3, act=None)
    block = partial(StarBlock, expansion=expansion)
    return Architecture(
        stem=partial(Stem, features=(32,), use_bias=True, act=relu6),
        stages=tuple(
            StageRow(features << stage, 2, (block,) * depth, downsample=shrink, dilate=refuse)
            for stage, depth in enumerate(depths)
        ),
        head=partial(Head, neck=BatchNorm),
        initialization=Initialization(conv=Normal(0.02), linear=Normal(0.02), linear_bias=zeros),
        family="starnet",
    )


NETWORKS: Networks = {
    "Ma et al. 2024 (StarNet)": {
        "starnet_s1": starnet(24, (2, 2, 8, 3)),
        "starnet_s2": starnet(32, (1, 2, 6, 2)),
        "starnet_s3": starnet(32, (2, 2, 8, 4)),
        "starnet_s4": starnet(32, (3, 3, 12, 5)),
        "starnet_s050": starnet(16, (1, 1, 3, 1), expansion=3),
        "starnet_s100": starnet(20, (1, 2, 4, 1)),
        "starnet_s150": starnet(24, (1, 2, 4, 2), expansion=3),
    },
}
