"""timm's networks under timm's names, one file per family."""

from collections.abc import Mapping
from types import MappingProxyType

from flaxblocks.models import efficientnet as base_efficientnet
from flaxblocks.models.architecture import Architecture
from flaxblocks.models.backbone import Backbone
from flaxblocks.models.resnet import ResNet
from flaxblocks.models.timm import efficientnet, resnet

PREFIX = "timm/"

FAMILIES: tuple[tuple[type[Backbone], Mapping[str, Architecture]], ...] = (
    (base_efficientnet.EfficientNet, efficientnet.MODELS),
    (ResNet, resnet.MODELS),
)
"""Each family's class and timm's networks of it, by timm's names."""

MODELS: Mapping[str, tuple[type[Backbone], Architecture]] = MappingProxyType(
    {
        PREFIX + name: (family, architecture)
        for family, networks in FAMILIES
        for name, architecture in networks.items()
    }
)
"""The same by our names."""
