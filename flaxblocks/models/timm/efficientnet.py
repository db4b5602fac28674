"""timm's EfficientNets."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers.activations import silu
from flaxblocks.models.architecture import Architecture, ramp_below
from flaxblocks.models.efficientnet import INITIALISATION, TABLE_1, scaled
from flaxblocks.models.inverted import inverted_stage
from flaxblocks.models.scaling import make_divisible


def efficientnet(width: float, depth: float) -> Architecture:
    """Describe an EfficientNet as timm has it.

    Args:
        width: factor of the channels.
        depth: factor of the layers.
    """
    rows = scaled(TABLE_1, width, depth)
    return Architecture(
        stem=partial(Stem, features=(make_divisible(width * 32),), act=silu),
        stages=tuple(inverted_stage([row]) for row in rows),
        head=partial(Head, conv_features=make_divisible(width * 1280), act=silu),
        initialisation=INITIALISATION,
        drop_path_ramp=ramp_below,
    )


MODELS: Mapping[str, Architecture] = MappingProxyType({"efficientnet_b0": efficientnet(1.0, 1.0)})
