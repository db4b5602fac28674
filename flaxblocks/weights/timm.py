"""timm's parameter names: one function for each class of block and for each family."""

from flaxblocks.layers import ConvNormAct
from flaxblocks.weights.naming import Vendor
from flaxblocks.weights.timm_byob import BYOB
from flaxblocks.weights.timm_cspnet import CSPNET
from flaxblocks.weights.timm_dla import DLA
from flaxblocks.weights.timm_ghost import GHOST
from flaxblocks.weights.timm_hgnet import HGNET
from flaxblocks.weights.timm_inverted import INVERTED
from flaxblocks.weights.timm_metaformer import METAFORMER
from flaxblocks.weights.timm_nfnet import NFNET
from flaxblocks.weights.timm_rep import REP
from flaxblocks.weights.timm_repvit import REPVIT
from flaxblocks.weights.timm_residual import RESIDUAL
from flaxblocks.weights.timm_resnetv2 import RESNET_V2
from flaxblocks.weights.timm_rexnet import REXNET
from flaxblocks.weights.timm_senet import SENET
from flaxblocks.weights.timm_starnet import STARNET
from flaxblocks.weights.torchvision import conv_norm
from flaxblocks.weights.torchvision_plain import TIMMS_PLAIN

TIMM: Vendor = {
    ConvNormAct: conv_norm("conv", "bn"),
    **CSPNET,
    **BYOB,
    **DLA,
    **INVERTED,
    **RESIDUAL,
    **METAFORMER,
    **NFNET,
    **REP,
    **RESNET_V2,
    **REXNET,
    **GHOST,
    **HGNET,
    **REPVIT,
    **SENET,
    **STARNET,
    **TIMMS_PLAIN,
}
