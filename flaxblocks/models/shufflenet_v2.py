"""ShuffleNetV2."""

from functools import partial

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.shuffle import ShuffleUnit
from flaxblocks.layers.initializers import Initialization
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse
from flaxblocks.ops import max_pool

DEPTHS = (4, 8, 4)


def shufflenet_v2(widths: tuple[int, int, int], conv_features: int = 1024) -> Architecture:
    """Describe a ShuffleNetV2.

    Args:
        widths: channels of each stage.
        conv_features: channels after the head's convolution.
    """
    return Architecture(
        stem=partial(Stem, features=(24,), pool=max_pool),
        stages=tuple(
            StageRow(width, 2, (ShuffleUnit,) * depth, dilate=refuse)
            for width, depth in zip(widths, DEPTHS, strict=True)
        ),
        head=partial(Head, conv_features=conv_features),
        drop_path_ramp=no_branches,
        initialization=Initialization(),
        family="shufflenet_v2",
    )


NETWORKS: Networks = {
    "Ma et al. 2018": {  # table 5
        "shufflenet_v2_x0_5": shufflenet_v2((48, 96, 192)),
        "shufflenet_v2_x1_0": shufflenet_v2((116, 232, 464)),
        "shufflenet_v2_x1_5": shufflenet_v2((176, 352, 704)),
        "shufflenet_v2_x2_0": shufflenet_v2((244, 488, 976), conv_features=2048),
    }
}
