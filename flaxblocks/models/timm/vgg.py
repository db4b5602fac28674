"""timm's VGGs."""

from flaxblocks.blocks.flat_head import ConvMlpHead
from flaxblocks.models.architecture import Networks
from flaxblocks.models.vgg import each

NETWORKS: Networks = {
    "Simonyan and Zisserman 2015 (VGG)": each(head=ConvMlpHead, drop_rate=0.0, family="conv_vgg"),
}
