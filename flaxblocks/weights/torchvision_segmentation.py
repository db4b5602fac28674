"""torchvision's names for segmentation networks and the feature pyramid."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from flaxblocks.blocks import FeaturePyramidNetwork
from flaxblocks.blocks.atrous_pyramid import AtrousPyramid
from flaxblocks.blocks.dense_head import DeepLabHead, FCNHead, LRASPPHead
from flaxblocks.blocks.feature_pyramid import LastLevelP6P7
from flaxblocks.models import Backbone
from flaxblocks.weights.naming import Child, Naming, Vendor
from flaxblocks.weights.torchvision import conv_norm, resnet_trunk


def _fcn_head(head: FCNHead) -> Iterator[Child]:
    yield Child("", head.spatial)
    yield Child("4", head.classifier)


def _atrous_pyramid(pyramid: AtrousPyramid) -> Iterator[Child]:
    branches: Any = pyramid.branches
    for place, branch in enumerate(branches):
        yield Child(f"convs.{place}", branch)
    yield Child(f"convs.{len(branches)}", pyramid.pooled, conv_norm("1", "2"))
    yield Child("project", pyramid.project)


def _deeplab_head(head: DeepLabHead) -> Iterator[Child]:
    yield Child("0", head.pyramid)
    yield Child("", head.spatial, conv_norm("1", "2"))
    yield Child("4", head.classifier)


def _lraspp_head(head: LRASPPHead) -> Iterator[Child]:
    yield Child("cbr", head.project)
    yield Child("scale.1", head.gate.conv)
    yield Child("low_classifier", head.low_classifier)
    yield Child("high_classifier", head.classifier)


def _feature_pyramid(pyramid: FeaturePyramidNetwork) -> Iterator[Child]:
    lists: Any = pyramid.inner, pyramid.layers
    for name, units in zip(("inner_blocks", "layer_blocks"), lists, strict=True):
        for place, unit in enumerate(units):
            yield Child(f"{name}.{place}", unit)
    yield Child("extra_blocks", pyramid.extra if isinstance(pyramid.extra, LastLevelP6P7) else None)


def _extra_levels(extra: LastLevelP6P7) -> Iterator[Child]:
    yield Child("p6", extra.p6)
    yield Child("p7", extra.p7)


def _segmentation(trunk: Naming) -> Naming:
    """Return the naming of a network whose stem and stages have these names."""

    def naming(model: Backbone) -> Iterator[Child]:
        for child in trunk(model):
            assert isinstance(child, Child)
            yield child._replace(prefix=f"backbone.{child.prefix}".rstrip("."))
        yield Child("classifier", model.head)
        for head in model.auxiliary:
            yield Child("aux_classifier", head)

    return naming


def _mobilenet_v3_trunk(model: Backbone) -> Iterator[Child]:
    """Name stem, blocks and the last convolution by their places in one `Sequential`."""
    blocks = chain.from_iterable(stage.blocks for stage in model.stages)
    for place, part in enumerate([model.stem.layers[0], *blocks]):
        yield Child(f"{place}", part)


SEGMENTATION: Vendor = {
    FeaturePyramidNetwork: _feature_pyramid,
    LastLevelP6P7: _extra_levels,
    FCNHead: _fcn_head,
    AtrousPyramid: _atrous_pyramid,
    DeepLabHead: _deeplab_head,
    LRASPPHead: _lraspp_head,
    "segmentation_resnet": _segmentation(resnet_trunk),
    "segmentation_mobilenet_v3": _segmentation(_mobilenet_v3_trunk),
}
