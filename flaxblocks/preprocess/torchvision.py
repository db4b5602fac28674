"""What torchvision does to an image, for each of the weights that it publishes."""

from collections.abc import Mapping
from types import MappingProxyType

from flaxblocks.preprocess.transform import Preprocess

HALF = (0.5, 0.5, 0.5)

USUAL: Mapping[str, Preprocess] = MappingProxyType(
    {
        "IMAGENET1K_V1": Preprocess(256, 224),
        "IMAGENET1K_V2": Preprocess(232, 224),
        "IMAGENET1K_SWAG_E2E_V1": Preprocess(384, 384, "bicubic"),
        "IMAGENET1K_SWAG_LINEAR_V1": Preprocess(224, 224, "bicubic"),
    }
)
"""By what the weights are called."""

UNUSUAL: Mapping[str, Preprocess] = MappingProxyType(
    {
        "convnext_base/IMAGENET1K_V1": Preprocess(232, 224),
        "convnext_large/IMAGENET1K_V1": Preprocess(232, 224),
        "convnext_small/IMAGENET1K_V1": Preprocess(230, 224),
        "convnext_tiny/IMAGENET1K_V1": Preprocess(236, 224),
        "efficientnet_b0/IMAGENET1K_V1": Preprocess(256, 224, "bicubic"),
        "efficientnet_b1/IMAGENET1K_V1": Preprocess(256, 240, "bicubic"),
        "efficientnet_b1/IMAGENET1K_V2": Preprocess(255, 240),
        "efficientnet_b2/IMAGENET1K_V1": Preprocess(288, 288, "bicubic"),
        "efficientnet_b3/IMAGENET1K_V1": Preprocess(320, 300, "bicubic"),
        "efficientnet_b4/IMAGENET1K_V1": Preprocess(384, 380, "bicubic"),
        "efficientnet_b5/IMAGENET1K_V1": Preprocess(456, 456, "bicubic"),
        "efficientnet_b6/IMAGENET1K_V1": Preprocess(528, 528, "bicubic"),
        "efficientnet_b7/IMAGENET1K_V1": Preprocess(600, 600, "bicubic"),
        "efficientnet_v2_l/IMAGENET1K_V1": Preprocess(480, 480, "bicubic", HALF, HALF),
        "efficientnet_v2_m/IMAGENET1K_V1": Preprocess(480, 480),
        "efficientnet_v2_s/IMAGENET1K_V1": Preprocess(384, 384),
        "mnasnet0_75/IMAGENET1K_V1": Preprocess(232, 224),
        "mnasnet1_3/IMAGENET1K_V1": Preprocess(232, 224),
        "resnext101_64x4d/IMAGENET1K_V1": Preprocess(232, 224),
    }
)
"""What differs, by network and weights.

Source: torchvision 0.28, the `transforms` of `torchvision.models.get_model_weights`.
"""


def torchvision_preprocess(network: str, weights: str) -> Preprocess:
    """Return what torchvision does for the weights of a network."""
    return UNUSUAL.get(f"{network}/{weights}") or USUAL[weights]
