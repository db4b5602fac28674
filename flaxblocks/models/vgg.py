"""AlexNet and VGG: plain convolutions and pools, and linear layers over all pixels."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flaxblocks.blocks import Head, Stem
from flaxblocks.blocks.flat_head import FlatHead
from flaxblocks.layers import BatchNorm
from flaxblocks.layers.initializers import Initialization, Normal, kaiming_normal, zeros
from flaxblocks.layers.optional import ModuleFactory
from flaxblocks.models.architecture import Architecture, Networks, StageRow, no_branches
from flaxblocks.models.dilation import refuse
from flaxblocks.ops import max_pool

INITIALIZATION = Initialization(
    conv=kaiming_normal, conv_bias=zeros, linear=Normal(0.01), linear_bias=zeros
)

pool_2 = partial(max_pool, kernel_size=2, padding=0)
pool_3 = partial(max_pool, kernel_size=3, padding=0)
flat_head = partial(FlatHead, size=7)
_convolutions = partial(Stem, stride=1, use_bias=True)


def convolutions(
    in_features: int,
    out_features: int,
    *,
    features: tuple[int, ...],
    stride: int,
    **arguments: Any,
) -> Stem:
    """Make a stage: convolutions, then the pool that takes its stride."""
    return _convolutions(in_features, features, **arguments)


def _stage(features: tuple[int, ...], **arguments: Any) -> StageRow:
    block = partial(convolutions, features=features, **arguments)
    return StageRow(features[-1], 2, (block,), dilate=refuse)


def vgg(
    depths: tuple[int, ...],
    norm: ModuleFactory | None = None,
    *,
    head: Callable[..., Head] = flat_head,
    drop_rate: float = 0.5,
    family: str = "vgg",
) -> Architecture:
    """Describe a VGG.

    Args:
        depths: convolutions of each stage.
        norm: makes each normalization, see `ConvNormAct`; None for none.
        head: makes the last layers, see `Architecture`.
        drop_rate: dropout before the classifier and the linear layer before it.
        family: see `Architecture`.
    """
    first, *rest = ((width,) * n for width, n in zip((64, 128, 256, 512, 512), depths, strict=True))
    parts = {"norm": norm, "pool": pool_2}
    return Architecture(
        stem=partial(_convolutions, features=first, **parts),
        stages=tuple(_stage(features, **parts) for features in rest),
        head=head,
        drop_path_ramp=no_branches,
        initialization=INITIALIZATION,
        drop_rate=drop_rate,
        family=family,
    )


ALEXNET = Architecture(
    stem=partial(
        Stem,
        features=(64,),
        kernel_size=11,
        stride=4,
        padding=2,
        use_bias=True,
        norm=None,
        pool=pool_3,
    ),
    stages=(
        _stage((192,), kernel_size=5, norm=None, pool=pool_3),
        _stage((384, 256, 256), norm=None, pool=pool_3),
    ),
    head=partial(FlatHead, size=6, drops=(True, True, False)),
    drop_path_ramp=no_branches,
    initialization=Initialization(),
    drop_rate=0.5,
    family="vgg",
)

TABLE_1 = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Simonyan and Zisserman 2015, table 1, columns A, B, D and E: convolutions of each stage."""


def each(**arguments: Any) -> dict[str, Architecture]:
    """Return every VGG by name, without and with normalizations."""
    norms = {"": None, "_bn": BatchNorm}
    return {
        f"vgg{layers}{suffix}": vgg(depths, norm, **arguments)
        for layers, depths in TABLE_1.items()
        for suffix, norm in norms.items()
    }


NETWORKS: Networks = {
    "Krizhevsky 2014 (AlexNet)": {"alexnet": ALEXNET},
    "Simonyan and Zisserman 2015 (VGG)": each(),
}
