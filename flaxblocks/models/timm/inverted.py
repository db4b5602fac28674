"""What timm's networks of inverted residuals share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from flaxblocks.blocks import Head, Stem
from flaxblocks.layers import BatchNorm, ConvNormAct
from flaxblocks.layers.conv import Padding
from flaxblocks.layers.initializers import FanOutUniform, Initialization, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, ramp_below
from flaxblocks.models.inverted import Gate, InvertedRow, Stages, inverted_stage
from flaxblocks.ops import blur_pool
from flaxblocks.ops.activations import Activation


@dataclass(frozen=True)
class Numerics:
    """The numerics that depend on where a network's weights were trained.

    Args:
        norm: makes each normalization, see `ConvNormAct`.
        padding: of the spatial convolutions, as `Conv` takes it.
    """

    norm: ModuleFactory = BatchNorm
    padding: Padding = None


PYTORCH = Numerics()
TENSORFLOW = Numerics(partial(BatchNorm, epsilon=1e-3), "SAME")
"""The numerics of weights that were trained in TensorFlow."""

INITIALIZATION = Initialization(
    conv=kaiming_normal,
    conv_bias=zeros,
    linear=FanOutUniform(1.0),
    linear_bias=zeros,
    fan_out_of_group=True,
)


blur_pool_in_zeros = partial(blur_pool, mirror=False)

biased_convolution = partial(ConvNormAct, kernel_size=1, norm=None, act=None)
unbiased_convolution = partial(biased_convolution, use_bias=False)


def restyled(
    stages: Sequence[Sequence[InvertedRow]], act: Activation, gate: Gate | None = None
) -> Stages:
    """Return a table with another activation, and another gate or none."""
    return tuple(tuple(replace(row, act=act, gate=gate) for row in rows) for rows in stages)


def inverted_network(
    stages: Sequence[Sequence[InvertedRow]],
    *,
    stem_features: int,
    stem_kernel_size: int = 3,
    conv_features: int | None = None,
    hidden_features: int | None = None,
    hidden: ModuleFactory = biased_convolution,
    act: Activation,
    numerics: Numerics = PYTORCH,
    family: str = "mobile",
) -> Architecture:
    """Describe a network of inverted residuals as timm has it.

    Args:
        stages: the rows of each stage, scaled.
        stem_features: channels after the stem.
        stem_kernel_size: height and width of the stem's kernel in pixels.
        conv_features: channels after the head's convolution; None for no convolution.
        hidden_features: width of the layer before the classifier; None for no layer.
        hidden: makes that layer.
        act: activation of stem and head.
        numerics: the normalization and the padding.
        family: see `Architecture`.
    """
    norm, padding = numerics.norm, numerics.padding
    return Architecture(
        stem=partial(
            Stem,
            features=(stem_features,),
            kernel_size=stem_kernel_size,
            padding=padding,
            norm=norm,
            act=act,
        ),
        stages=tuple(inverted_stage(rows, norm=norm, padding=padding) for rows in stages),
        head=partial(
            Head,
            conv_features=conv_features,
            hidden_features=hidden_features,
            hidden=hidden,
            conv_norm=norm,
            act=act,
        ),
        initialization=INITIALIZATION,
        drop_path_ramp=ramp_below,
        family=family,
    )
