"""What timm does to an image, for the weights that it loads into each network by default."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from flaxblocks.preprocess.transform import Preprocess, resized_for

_imagenet = partial(resized_for, interpolation="bicubic")
_half = partial(_imagenet, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_clip = partial(
    _imagenet,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)

USUAL = _imagenet(224, 0.875)

_ROWS = (  # size of the crop, and as a fraction of what the image is resized to
    (_imagenet(106, 0.875), "tinynet_e"),
    (_imagenet(152, 0.875), "tinynet_d"),
    (_imagenet(160, 0.91), "resnetrs50"),
    (_imagenet(160, 0.95), "test_efficientnet test_efficientnet_ln"),
    (_imagenet(176, 0.875), "resnet10t resnet14t"),
    (_imagenet(184, 0.875), "tinynet_c"),
    (_imagenet(188, 0.875), "tinynet_b"),
    (_imagenet(192, 0.875), "tf_efficientnetv2_b0 tinynet_a"),
    (_imagenet(192, 0.882), "tf_efficientnetv2_b1"),
    (_imagenet(192, 0.94), "resnetrs101"),
    (_imagenet(208, 0.89), "tf_efficientnetv2_b2"),
    (
        _imagenet(224, 0.9),
        "mobilenet_edgetpu_100 mobilenet_edgetpu_v2_l mobilenet_edgetpu_v2_s "
        "mobilenet_edgetpu_v2_xs",
    ),
    (_imagenet(224, 0.94), "resnet50_gn"),
    (
        _imagenet(224, 0.95),
        "resnet18 resnet34 resnet50 resnet101 resnet152 resnetaa50 resnetaa50d resnetaa101d "
        "resnext50_32x4d resnext101_64x4d seresnet50 seresnext101_32x8d seresnext101d_32x8d "
        "mobilenetv4_conv_blur_medium mobilenetv4_hybrid_medium_075 regnetv_040 regnetv_064 "
        "regnety_032 regnety_040 regnety_040_sgn regnety_064 regnety_080 regnety_120 "
        "regnety_160 regnetz_005 convnext_nano convnext_nano_ols convnext_pico_ols "
        "convnext_small convnext_tiny convnext_tiny_hnf",
    ),
    (
        _imagenet(224, 0.965),
        "regnetx_004_tv regnetx_008 regnetx_016 regnetx_032 regnetx_080 regnetx_160 "
        "regnetx_320 regnety_004 regnety_008_tv regnety_016 regnety_080_tv regnety_320",
    ),
    (_imagenet(224, 1.0), "efficientnetv2_rw_t gc_efficientnetv2_rw_t"),
    (
        _imagenet(240, 0.882),
        "efficientnet_cc_b1_8e efficientnet_em efficientnet_lite1 tf_efficientnet_b1",
    ),
    (_imagenet(256, 0.875), "ecaresnet26t ecaresnet50t seresnet200d seresnet269d efficientnet_b2"),
    (_imagenet(256, 0.94), "resnet26t"),
    (
        _imagenet(256, 0.95),
        "ecaresnet200d resnet101d resnet152d resnet200d seresnet152d "
        "mobilenetv4_conv_aa_medium mobilenetv4_conv_medium mobilenetv4_hybrid_large_075 "
        "mobilenetv4_hybrid_medium",
    ),
    (_imagenet(256, 1.0), "resnetrs152 resnetrs200 resnetrs270 regnetz_040 regnetz_040_h"),
    (_imagenet(260, 0.89), "efficientnet_lite2 tf_efficientnet_b2"),
    (_imagenet(288, 0.875), "efficientnet_b3"),
    (_imagenet(288, 0.95), "seresnextaa101d_32x8d efficientnet_x_b3"),
    (
        _imagenet(288, 1.0),
        "resnetrs350 efficientnet_b3_g8_gn efficientnet_b3_gn efficientnetv2_rw_s efficientnetv2_s",
    ),
    (
        _imagenet(300, 0.904),
        "efficientnet_el efficientnet_el_pruned efficientnet_lite3 tf_efficientnet_b3",
    ),
    (_imagenet(320, 0.875), "efficientnet_b4"),
    (_imagenet(320, 0.95), "ecaresnet269d"),
    (_imagenet(320, 1.0), "resnetrs420 efficientnetv2_m efficientnetv2_rw_m"),
    (_imagenet(380, 0.922), "efficientnet_lite4 tf_efficientnet_b4"),
    (_imagenet(384, 0.95), "mobilenetv4_conv_large mobilenetv4_hybrid_large"),
    (
        _imagenet(384, 1.0),
        "seresnextaa201d_32x8d efficientnetv2_l efficientnetv2_xl regnety_640 regnety_1280 "
        "regnety_2560",
    ),
    (_imagenet(448, 0.95), "mobilenetv4_conv_aa_large"),
    (_imagenet(456, 0.934), "tf_efficientnet_b5"),
    (_imagenet(475, 0.936), "tf_efficientnet_l2"),
    (_imagenet(528, 0.942), "efficientnet_b6 tf_efficientnet_b6"),
    (_imagenet(600, 0.949), "efficientnet_b7 tf_efficientnet_b7"),
    (_imagenet(672, 0.954), "efficientnet_b8"),
    (_imagenet(800, 0.961), "efficientnet_l2"),
    (
        _imagenet(224, 0.875, interpolation="bilinear"),
        "resnext101_32x4d resnext101_32x8d resnext101_32x16d resnext101_32x32d "
        "wide_resnet101_2 fbnetc_100 spnasnet_100 lcnet_035 lcnet_150 mobilenetv3_large_075",
    ),
    (_imagenet(224, 0.95, interpolation="bilinear"), "fbnetv3_b fbnetv3_d"),
    (_imagenet(240, 0.95, interpolation="bilinear"), "fbnetv3_g"),
    (_imagenet(384, 1.0, squash=True), "convnextv2_huge"),
    (_imagenet(448, 1.0, squash=True), "efficientnet_b5 efficientnet_h_b5 efficientnet_x_b5"),
    (
        _half(160, 0.95),
        "test_efficientnet_evos test_efficientnet_gn test_convnext test_convnext2 test_convnext3",
    ),
    (
        _half(224, 0.875),
        "mobilenetv1_100 mobilenetv1_100h tf_efficientnet_cc_b0_4e tf_efficientnet_cc_b0_8e "
        "tf_efficientnet_es tf_efficientnet_lite0 mobilenetv4_conv_small_035 "
        "mobilenetv4_conv_small_050 convnext_zepto_rms",
    ),
    (_half(224, 0.9), "mobilenet_edgetpu_v2_m mobilenetv1_125 convnext_zepto_rms_ols"),
    (
        _half(240, 0.882),
        "efficientnet_b1_pruned tf_efficientnet_cc_b1_8e tf_efficientnet_em tf_efficientnet_lite1",
    ),
    (_half(240, 0.9), "efficientnet_b1"),
    (_half(260, 0.89), "efficientnet_b2_pruned tf_efficientnet_lite2"),
    (_half(300, 0.904), "efficientnet_b3_pruned tf_efficientnet_el"),
    (_half(300, 1.0), "tf_efficientnetv2_s"),
    (_half(672, 0.954), "tf_efficientnet_b8"),
    (_half(160, 0.95, interpolation="bilinear"), "test_resnet"),
    (
        _half(224, 0.875, interpolation="bilinear"),
        "tf_mobilenetv3_large_075 tf_mobilenetv3_large_100 tf_mobilenetv3_large_minimal_100 "
        "tf_mobilenetv3_small_075 tf_mobilenetv3_small_100 tf_mobilenetv3_small_minimal_100",
    ),
    (_half(256, 0.95, interpolation="bilinear"), "mobilenetv3_large_150d"),
    (_half(300, 0.904, interpolation="bilinear"), "tf_efficientnet_lite3"),
    (_half(380, 0.92, interpolation="bilinear"), "tf_efficientnet_lite4"),
    (_half(240, 0.9, squash=True), "tf_efficientnetv2_b3"),
    (_half(384, 1.0, squash=True), "tf_efficientnetv2_l tf_efficientnetv2_m tf_efficientnetv2_xl"),
    (_clip(256, 1.0), "convnext_xxlarge"),
    (_clip(320, 1.0), "convnext_large_mlp"),
)

UNUSUAL: Mapping[str, Preprocess] = MappingProxyType(
    {name: preprocess for preprocess, names in _ROWS for name in names.split()}
)
"""What differs from `USUAL`, by timm's name of the network.

Source: timm 1.0.31, the `pretrained_cfg` of every network in its resnet.py, efficientnet.py,
mobilenetv3.py, regnet.py and convnext.py.
"""


def timm_preprocess(network: str) -> Preprocess:
    """Return what timm does for the weights that it loads into a network by default."""
    return UNUSUAL.get(network, USUAL)
