"""timm's EfficientNet-X and -H, whose first block moves pixels into channels."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flax import nnx

from flaxblocks.blocks import FusedMBConv
from flaxblocks.blocks.space_to_depth import SpaceToDepth
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.efficientnet import GATE
from flaxblocks.models.inverted import InvertedRow, Stages, scaled, stages_of_one
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.inverted import inverted_network
from flaxblocks.ops.activations import relu, silu


@dataclass(frozen=True)
class SpaceToDepthRow(InvertedRow):
    """The first block, with the kernel, activation and gate of `InvertedRow`."""

    def make_block(
        self, in_features: int, out_features: int, *, padding: Any, **arguments: Any
    ) -> nnx.Module:
        """Return the block, which has its own padding."""
        return SpaceToDepth(
            in_features,
            out_features,
            kernel_size=self.kernel_size,
            act=self.act,
            se=self.squeeze_excite(in_features, 4 * in_features),
            **arguments,
        )


_row = partial(InvertedRow, act=silu, gate=GATE)
_fused = partial(InvertedRow, act=relu, gate=replace(GATE, act=relu), block=FusedMBConv)


def _stages(expansion: float) -> Stages:
    """Return the table, in which the third to fifth of seven stages have this expansion."""
    return stages_of_one(
        _row(16),
        _fused(24, 2, 2, expansion),
        _fused(40, 2, 2, expansion, kernel_size=5),
        _row(80, 3, 2, expansion),
        _row(112, 3, 1, 6, kernel_size=5),
        _row(192, 4, 2, 6, kernel_size=5),
        _row(320, 1, 1, 6),
    )


def efficientnet_x(width: float, depth: float, expansion: float = 6) -> Architecture:
    """Describe an EfficientNet-X.

    Args:
        width: factor of the channels.
        depth: factor of the layers.
        expansion: the wide width of the second to fourth stage's blocks.

    Source: Li et al. 2021 (EfficientNet-X), table 3; expansion 4 is EfficientNet-H.
    """
    ((first,), (second,), *rest) = scaled(_stages(expansion), width=width, depth=depth)
    deep = replace(first, features=4 * first.features)
    begin = SpaceToDepthRow(deep.features, stride=2, act=silu, gate=GATE)
    stages: Stages = (
        (begin, replace(deep, depth=deep.depth - 1)),
        (  # the pixels are quartered already, and the channels to expand quadrupled
            replace(second, depth=1, stride=1, expansion=expansion / 4, always_expand=True),
            replace(second, depth=second.depth - 1, stride=1),
        ),
        *rest,
    )
    return inverted_network(
        stages,
        stem_features=make_divisible(32 * width),
        conv_features=make_divisible(1280 * width),
        act=silu,
        family="efficientnet",
    )


NETWORKS: Networks = {
    "Li et al. 2021 (EfficientNet-X)": {
        "efficientnet_x_b3": efficientnet_x(1.2, 1.4),
        "efficientnet_x_b5": efficientnet_x(1.6, 2.2),
        "efficientnet_h_b5": efficientnet_x(1.92, 2.2, 4),
    },
}
