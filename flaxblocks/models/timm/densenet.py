"""timm's DenseNets."""

from flaxblocks.models.architecture import Networks
from flaxblocks.models.densenet import densenet
from flaxblocks.models.timm.resnet import blurred_max_pool

NETWORKS: Networks = {
    "Huang et al. 2017 (DenseNet)": {
        "densenet121": densenet((6, 12, 24, 16)),
        "densenet161": densenet((6, 12, 36, 24), 48),
        "densenet169": densenet((6, 12, 32, 32)),
        "densenet201": densenet((6, 12, 48, 32)),
        "densenet264d": densenet((6, 12, 64, 48), 48, stem_features=(48, 48, 96)),
        "densenetblur121d": densenet(
            (6, 12, 24, 16), stem_features=(32, 32, 64), pool=blurred_max_pool
        ),
    }
}
