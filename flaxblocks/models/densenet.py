"""DenseNet."""

from functools import partial

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.dense import DenseLayer, Transition
from flaxblocks.layers.initializers import Initialization, kaiming_normal_in, zeros
from flaxblocks.layers.norm_act import NormAct
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse
from flaxblocks.ops import max_pool
from flaxblocks.ops.activations import Activation

INITIALIZATION = Initialization(conv=kaiming_normal_in, linear_bias=zeros)


def densenet(
    depths: tuple[int, int, int, int],
    growth: int = 32,
    *,
    stem_features: tuple[int, ...] | None = None,
    pool: Activation = max_pool,
) -> Architecture:
    """Describe a DenseNet.

    Args:
        depths: dense layers of each stage.
        growth: channels that each of them adds.
        stem_features: channels after each 3x3 convolution of the stem; None for one of 7x7, to
            twice the growth.
        pool: ends the stem.
    """
    features, kernel_size = (stem_features, 3) if stem_features else ((2 * growth,), 7)
    stages: list[StageRow] = []
    width = features[-1]
    for stage, depth in enumerate(depths):
        blocks, start = (DenseLayer,) * depth, width // 2 if stage else width
        widths = tuple(start + growth * (layer + 1) for layer in range(depth))
        if stage:
            blocks, widths = (Transition, *blocks), (start, *widths)
        width = widths[-1]
        stages.append(StageRow(width, 2 if stage else 1, blocks, widths=widths, dilate=refuse))
    return Architecture(
        stem=partial(Stem, features=features, kernel_size=kernel_size, pool=pool),
        stages=tuple(stages),
        head=partial(Head, neck=NormAct),
        drop_path_ramp=no_branches,
        initialization=INITIALIZATION,
        family="densenet",
    )


NETWORKS: Networks = {
    "Huang et al. 2017 (DenseNet)": {  # table 1
        "densenet121": densenet((6, 12, 24, 16)),
        "densenet161": densenet((6, 12, 36, 24), growth=48),
        "densenet169": densenet((6, 12, 32, 32)),
        "densenet201": densenet((6, 12, 48, 32)),
    }
}
