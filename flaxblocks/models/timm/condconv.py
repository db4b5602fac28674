"""timm's EfficientNets with conditional convolutions."""

from dataclasses import dataclass
from typing import Any

from flaxblocks.blocks import CondMBConv
from flaxblocks.models.architecture import Architecture, Networks
from flaxblocks.models.efficientnet import TABLE_1
from flaxblocks.models.inverted import InvertedRow, Stages, scaled
from flaxblocks.models.scaling import make_divisible
from flaxblocks.models.timm.efficientnet import SCALES
from flaxblocks.models.timm.inverted import PYTORCH, TENSORFLOW, Numerics, inverted_network
from flaxblocks.ops.activations import silu


@dataclass(frozen=True)
class CondRow(InvertedRow):
    """Equal blocks with conditional convolutions, with the sizes and the gate of `InvertedRow`.

    Args:
        experts: kernels that each convolution mixes.
    """

    experts: int = 4

    def make_block(self, in_features: int, out_features: int, **arguments: Any) -> CondMBConv:
        """Return one of the blocks."""
        hidden = make_divisible(in_features * self.expansion)
        return CondMBConv(
            in_features,
            out_features,
            hidden_features=hidden,
            experts=self.experts,
            kernel_size=self.kernel_size,
            act=self.act,
            se=self.squeeze_excite(in_features, hidden),
            **arguments,
        )


def conditional(scale: str, experts: int, numerics: Numerics = PYTORCH) -> Architecture:
    """Describe an EfficientNet whose last three stages have conditional convolutions."""
    width, depth = SCALES[scale]
    plain, last = TABLE_1[:-3], TABLE_1[-3:]
    stages: Stages = (
        *plain,
        *(tuple(CondRow(**vars(row), experts=experts) for row in rows) for rows in last),
    )
    return inverted_network(
        scaled(stages, width=width, depth=depth),
        stem_features=32,
        conv_features=1280,
        act=silu,
        numerics=numerics,
        family="efficientnet",
    )


def _published(numerics: Numerics = PYTORCH, prefix: str = "") -> dict[str, Architecture]:
    return {
        f"{prefix}efficientnet_cc_{scale}_{experts}e": conditional(scale, experts, numerics)
        for scale, experts in (("b0", 4), ("b0", 8), ("b1", 8))
    }


NETWORKS: Networks = {
    "Yang et al. 2019 (CondConv)": {**_published(), **_published(TENSORFLOW, "tf_")},
}
