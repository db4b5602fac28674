"""Whole networks, one file per family, by name in the registry."""

from flaxblocks.layers.initializers import Initialization as Initialization
from flaxblocks.models.architecture import Architecture as Architecture
from flaxblocks.models.architecture import StageRow as StageRow
from flaxblocks.models.backbone import Backbone as Backbone
from flaxblocks.models.backbone import FeatureInfo as FeatureInfo
from flaxblocks.models.backbone import Stage as Stage
from flaxblocks.models.convnext import ConvNeXt as ConvNeXt
from flaxblocks.models.efficientnet import EfficientNet as EfficientNet
from flaxblocks.models.mnasnet import MNASNet as MNASNet
from flaxblocks.models.mobilenet_v2 import MobileNetV2 as MobileNetV2
from flaxblocks.models.mobilenet_v3 import MobileNetV3 as MobileNetV3
from flaxblocks.models.registry import create_model as create_model
from flaxblocks.models.registry import list_models as list_models
from flaxblocks.models.regnet import RegNet as RegNet
from flaxblocks.models.resnet import ResNet as ResNet
