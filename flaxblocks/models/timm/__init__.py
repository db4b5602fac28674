"""timm's networks under timm's names, one file per family."""

from collections.abc import Mapping
from types import MappingProxyType

from flaxblocks.models.architecture import Architecture
from flaxblocks.models.backbone import Backbone
from flaxblocks.models.convnext import ConvNeXt
from flaxblocks.models.efficientnet import EfficientNet
from flaxblocks.models.mnasnet import MNASNet
from flaxblocks.models.mobilenet_v2 import MobileNetV2
from flaxblocks.models.regnet import RegNet
from flaxblocks.models.resnet import ResNet
from flaxblocks.models.timm import (
    convnext,
    efficientnet,
    mobilenet,
    mobilenet_v3,
    mobilenet_v3_like,
    mobilenet_v4,
    regnet,
    resnet,
    searched,
)

PREFIX = "timm/"

FAMILIES: tuple[tuple[type[Backbone], Mapping[str, Architecture]], ...] = (
    (EfficientNet, efficientnet.MODELS),
    (mobilenet.MobileNetV1, mobilenet.V1_MODELS),
    (MobileNetV2, mobilenet.V2_MODELS),
    (mobilenet.MobileNetEdgeTPU, mobilenet.EDGE_TPU_MODELS),
    (MNASNet, searched.MNASNET_MODELS),
    (searched.FBNet, searched.FBNET_MODELS),
    (searched.SinglePathNAS, searched.SINGLE_PATH_MODELS),
    (searched.TinyNet, searched.TINYNET_MODELS),
    (mobilenet_v3.ConvStageMobileNet, mobilenet_v3.MODELS),
    (mobilenet_v3_like.LCNet, mobilenet_v3_like.LCNET_MODELS),
    (mobilenet_v3_like.FBNetV3, mobilenet_v3_like.FBNET_V3_MODELS),
    (mobilenet_v4.MobileNetV4, mobilenet_v4.MODELS),
    (ResNet, resnet.MODELS),
    (RegNet, regnet.MODELS),
    (ConvNeXt, convnext.MODELS),
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
