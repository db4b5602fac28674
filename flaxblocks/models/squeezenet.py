"""SqueezeNet."""

from functools import partial

from flaxblocks.blocks import Stem
from flaxblocks.blocks.fire import ConvHead, Fire, pool
from flaxblocks.layers.initializers import Initialization, kaiming_uniform_in, zeros
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse

INITIALIZATION = Initialization(conv=kaiming_uniform_in, conv_bias=zeros)

FIRES = ((16, 128), (16, 128), (32, 256), (32, 256), (48, 384), (48, 384), (64, 512), (64, 512))
"""Iandola et al. 2016, table 1: channels between and after, fire2 to fire9."""


def squeezenet(stem_features: int, kernel_size: int, depths: tuple[int, ...]) -> Architecture:
    """Describe a SqueezeNet.

    Args:
        stem_features: channels after the stem.
        kernel_size: height and width of the stem's kernel in pixels.
        depths: blocks of each stage; all but the first begin with a pool.
    """
    stages: list[StageRow] = []
    fires = iter(FIRES)
    for stage, depth in enumerate(depths):
        squeezed, widths = zip(*(next(fires) for _ in range(depth)), strict=True)
        blocks = tuple(partial(Fire, squeeze_features=features) for features in squeezed)
        stages.append(StageRow(widths[-1], 2 if stage else 1, blocks, widths=widths, dilate=refuse))
    return Architecture(
        stem=partial(
            Stem,
            features=(stem_features,),
            kernel_size=kernel_size,
            padding=0,
            use_bias=True,
            norm=None,
            pool=pool,
        ),
        stages=tuple(stages),
        head=ConvHead,
        drop_path_ramp=no_branches,
        initialization=INITIALIZATION,
        drop_rate=0.5,
        family="squeezenet",
    )


NETWORKS: Networks = {
    "Iandola et al. 2016": {
        "squeezenet1_0": squeezenet(96, 7, (3, 4, 1)),
        "squeezenet1_1": squeezenet(64, 3, (2, 2, 4)),
    }
}
