"""Whole networks, one file per family, by name in the registry."""

from flaxblocks.layers.initializers import Initialization as Initialization
from flaxblocks.models.architecture import Architecture as Architecture
from flaxblocks.models.architecture import StageRow as StageRow
from flaxblocks.models.backbone import Backbone as Backbone
from flaxblocks.models.backbone import FeatureInfo as FeatureInfo
from flaxblocks.models.record import ModelRecord as ModelRecord
from flaxblocks.models.record import PublishedWeights as PublishedWeights
from flaxblocks.models.registry import list_models as list_models
from flaxblocks.models.registry import model_info as model_info
from flaxblocks.models.registry import register_model as register_model
from flaxblocks.models.segmenter import Segmentation as Segmentation
from flaxblocks.models.segmenter import Segmenter as Segmenter
from flaxblocks.models.stage import Stage as Stage
