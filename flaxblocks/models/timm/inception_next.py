"""timm's InceptionNeXts: ConvNeXts that convolve few channels, by large windows."""

from functools import partial

from flaxblocks.blocks import ConvNeXtBlock, Head, NormConv, Stem
from flaxblocks.blocks.convnext import layer_norm
from flaxblocks.layers import BatchNorm, InceptionConv
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow
from flaxblocks.models.convnext import BASE, INITIALIZATION, SMALL, TINY, Size, dilate
from flaxblocks.models.timm.convnext import ATTO, by_conv
from flaxblocks.ops.activations import gelu

EXPANSIONS = (4, 4, 4, 3)  # of the stages' blocks


def inception_next(size: Size, depthwise: ModuleFactory = InceptionConv) -> Architecture:
    """Describe an InceptionNeXt.

    Args:
        size: its widths and depths.
        depthwise: makes the depthwise convolution of each block, see `ConvNeXtBlock`.

    Source: Yu et al. 2024, section 3.3 and table 2.
    """
    block = partial(
        ConvNeXtBlock, depthwise=depthwise, kernel_size=3, norm=BatchNorm, pointwise=by_conv
    )
    downsample = partial(NormConv, norm=BatchNorm)
    rows = enumerate(zip(size.features, size.depths, EXPANSIONS, strict=True))
    patches = {"kernel_size": 4, "stride": 4, "padding": 0, "use_bias": True}
    hidden = 3 * size.features[-1]
    return Architecture(
        stem=partial(Stem, features=size.features[:1], act=None, **patches),
        stages=tuple(
            StageRow(
                features,
                stride=2 if stage else 1,
                blocks=(partial(block, expansion=expansion),) * depth,
                downsample=downsample if stage else None,
                dilate=dilate,
            )
            for stage, (features, depth, expansion) in rows
        ),
        head=partial(Head, hidden_features=hidden, act=gelu, hidden_norm=layer_norm),
        initialization=INITIALIZATION,
        family="inception_next",
    )


NETWORKS: Networks = {
    "Yu et al. 2024 (InceptionNeXt)": {
        "inception_next_atto": inception_next(ATTO, partial(InceptionConv, band=9, share=1 / 4)),
        "inception_next_tiny": inception_next(TINY),
        "inception_next_small": inception_next(SMALL),
        "inception_next_base": inception_next(BASE),
    },
}
