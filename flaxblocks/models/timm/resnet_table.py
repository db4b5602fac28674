"""timm's ResNets by name: a row for each."""

from functools import partial

from flaxblocks.blocks.residual import PooledProjection
from flaxblocks.layers.group_norm import GroupNorm
from flaxblocks.models.architecture import Networks
from flaxblocks.models.resnet import WIDE, Widths, basic, bottleneck
from flaxblocks.models.timm.resnet import (
    AVERAGE,
    BLUR,
    ECA,
    LIGHT,
    NORMAL,
    SE,
    WIDER_S,
    C,
    D,
    E,
    S,
    Style,
    T,
    resnet,
    resnet_narrow,
    resnet_rs,
)

R10, R18, R26, R34 = (1, 1, 1, 1), (2, 2, 2, 2), (2, 2, 2, 2), (3, 4, 6, 3)
R50, R101, R152, R200, R269 = R34, (3, 4, 23, 3), (3, 8, 36, 3), (3, 24, 36, 3), (3, 30, 48, 8)

SENET = tuple(partial(bottleneck(4, 64), reduce_features=w // 2) for w in WIDE.stages)
"""Section 6.1 and GluonCV: the first 1x1 convolution is half as wide."""

PLAIN = {
    "resnet10t": resnet_narrow(R10, style=T),
    "resnet14t": resnet(R10, style=T),
    "resnet18": resnet_narrow(R18),
    "resnet18d": resnet_narrow(R18, style=D),
    "resnet26": resnet(R26),
    "resnet26d": resnet(R26, style=D),
    "resnet26t": resnet(R26, style=T),
    "resnet34": resnet_narrow(R34),
    "resnet34d": resnet_narrow(R34, style=D),
    "resnet50": resnet(R50),
    "resnet50_gn": resnet(R50, norm=GroupNorm),
    "resnet50c": resnet(R50, style=C),
    "resnet50d": resnet(R50, style=D),
    "resnet50s": resnet(R50, style=S),
    "resnet50t": resnet(R50, style=T),
    "resnet101": resnet(R101),
    "resnet101c": resnet(R101, style=C),
    "resnet101d": resnet(R101, style=D),
    "resnet101s": resnet(R101, style=S),
    "resnet152": resnet(R152),
    "resnet152c": resnet(R152, style=C),
    "resnet152d": resnet(R152, style=D),
    "resnet152s": resnet(R152, style=S),
    "resnet200": resnet(R200),
    "resnet200d": resnet(R200, style=D),
    "test_resnet": resnet(
        R10,
        (basic, basic, NORMAL, basic),
        Style((16, 16, 32), PooledProjection),
        widths=Widths(32, (32, 48, 192, 96)),
    ),
    "resnetaa34d": resnet_narrow(R34, style=D, halving=AVERAGE),
    "resnetaa50": resnet(R50, halving=AVERAGE),
    "resnetaa50d": resnet(R50, style=D, halving=AVERAGE),
    "resnetaa101d": resnet(R101, style=D, halving=AVERAGE),
}
WIDER = {
    "wide_resnet50_2": resnet(R50, bottleneck(128)),
    "wide_resnet101_2": resnet(R101, bottleneck(128)),
}
GROUPED = {
    "resnext50_32x4d": resnet(R50, bottleneck(4, 32)),
    "resnext50d_32x4d": resnet(R50, bottleneck(4, 32), D),
    "resnext101_32x4d": resnet(R101, bottleneck(4, 32)),
    "resnext101_32x8d": resnet(R101, bottleneck(8, 32)),
    "resnext101_32x16d": resnet(R101, bottleneck(16, 32)),
    "resnext101_32x32d": resnet(R101, bottleneck(32, 32)),
    "resnext101_64x4d": resnet(R101, bottleneck(4, 64)),
}
GATED = {
    "seresnet18": resnet_narrow(R18, gate=SE),
    "seresnet34": resnet_narrow(R34, gate=SE),
    "seresnet50": resnet(R50, gate=SE),
    "seresnet50t": resnet(R50, style=T, gate=SE),
    "seresnet101": resnet(R101, gate=SE),
    "seresnet152": resnet(R152, gate=SE),
    "seresnet152d": resnet(R152, style=D, gate=SE),
    "seresnet200d": resnet(R200, style=D, gate=SE),
    "seresnet269d": resnet(R269, style=D, gate=SE),
    "seresnext26d_32x4d": resnet(R26, bottleneck(4, 32), D, gate=SE),
    "seresnext26t_32x4d": resnet(R26, bottleneck(4, 32), T, gate=SE),
    "seresnext50_32x4d": resnet(R50, bottleneck(4, 32), gate=SE),
    "seresnext101_32x4d": resnet(R101, bottleneck(4, 32), gate=SE),
    "seresnext101_32x8d": resnet(R101, bottleneck(8, 32), gate=SE),
    "seresnext101_64x4d": resnet(R101, bottleneck(4, 64), gate=SE),
    "seresnext101d_32x8d": resnet(R101, bottleneck(8, 32), D, gate=SE),
    "senet154": resnet(R152, SENET, WIDER_S, gate=SE),
    "seresnetaa50d": resnet(R50, style=D, gate=SE, halving=AVERAGE),
    "seresnextaa101d_32x8d": resnet(R101, bottleneck(8, 32), D, gate=SE, halving=AVERAGE),
    "seresnextaa201d_32x8d": resnet((3, 24, 36, 4), bottleneck(8, 32), E, gate=SE, halving=AVERAGE),
}
ATTENTIVE = {
    "ecaresnet26t": resnet(R26, style=T, gate=ECA),
    "ecaresnet50d": resnet(R50, style=D, gate=ECA),
    "ecaresnet50t": resnet(R50, style=T, gate=ECA),
    "ecaresnet101d": resnet(R101, style=D, gate=ECA),
    "ecaresnet200d": resnet(R200, style=D, gate=ECA),
    "ecaresnet269d": resnet(R269, style=D, gate=ECA),
    "ecaresnetlight": resnet((1, 1, 11, 3), style=LIGHT, gate=ECA),
    "ecaresnext26t_32x4d": resnet(R26, bottleneck(4, 32), T, gate=ECA),
    "ecaresnext50t_32x4d": resnet(R50, bottleneck(4, 32), T, gate=ECA),
}
SCALED = {  # table 7
    "resnetrs50": resnet_rs(R50),
    "resnetrs101": resnet_rs(R101),
    "resnetrs152": resnet_rs(R152),
    "resnetrs200": resnet_rs(R200),
    "resnetrs270": resnet_rs((4, 29, 53, 4)),
    "resnetrs350": resnet_rs((4, 36, 72, 4)),
    "resnetrs420": resnet_rs((4, 44, 87, 4)),
}
BLURRED = {
    "resnetblur18": resnet_narrow(R18, halving=BLUR),
    "resnetblur50": resnet(R50, halving=BLUR),
    "resnetblur50d": resnet(R50, style=D, halving=BLUR),
    "resnetblur101d": resnet(R101, style=D, halving=BLUR),
}

NETWORKS: Networks = {
    "He et al. 2016": PLAIN,
    "Zagoruyko and Komodakis 2016 (Wide-ResNet)": WIDER,
    "Xie et al. 2017 (ResNeXt)": GROUPED,
    "Hu et al. 2018 (SENet)": GATED,
    "Wang et al. 2020 (ECA-Net)": ATTENTIVE,
    "Bello et al. 2021 (ResNet-RS)": SCALED,
    "Zhang 2019 (BlurPool)": BLURRED,
}
