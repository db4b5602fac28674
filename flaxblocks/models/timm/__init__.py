"""timm's networks under timm's names, one file per family."""

from flaxblocks.models.timm import (
    convnext,
    densenet,
    efficientnet,
    hardcorenas,
    mobilenet,
    mobilenet_v3,
    mobilenet_v3_like,
    mobilenet_v4,
    regnet,
    rep,
    res2net,
    resnet_table,
    searched,
    vgg,
)

TABLES = (
    efficientnet.NETWORKS,
    mobilenet.NETWORKS,
    searched.NETWORKS,
    mobilenet_v3.NETWORKS,
    mobilenet_v3_like.NETWORKS,
    mobilenet_v4.NETWORKS,
    resnet_table.NETWORKS,
    res2net.NETWORKS,
    regnet.NETWORKS,
    convnext.NETWORKS,
    densenet.NETWORKS,
    hardcorenas.NETWORKS,
    rep.NETWORKS,
    vgg.NETWORKS,
)
