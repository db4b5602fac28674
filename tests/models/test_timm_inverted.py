"""timm's networks of inverted residuals compute what timm's own modules do."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from flax import nnx

import flaxblocks as fb
from flaxblocks.models.record import TIMM_PREFIX
from parity.checks import measure
from parity.checks.tolerance import bound
from tests.helpers.arrays import assert_same_distribution
from tests.helpers.networks import (
    assert_same_logits,
    flax_network,
    gradients_of,
    run_by_blocks,
    run_torch,
    torch_network,
)
from tests.helpers.typed import gradient_of
from torch_ref.harness.layout import from_nhwc

IMAGE = (2, 37, 33, 3)  # odd, so that symmetric and TensorFlow's padding differ everywhere

QUICK = (  # to compile
    "timm/test_efficientnet",  # dense blocks, gates from the block's input, rounding down
    "timm/tf_mobilenetv3_small_075",  # TensorFlow's padding and epsilon, gates of the wide width
)
SLOW = (
    "timm/efficientnet_b0",
    "timm/efficientnet_es",  # the first block's own width
    "timm/efficientnet_lite0",
    "timm/efficientnetv2_rw_s",  # dense expansions that widen nothing
    "timm/fbnetc_100",  # expansions that widen nothing
    "timm/fbnetv3_b",  # other channels within a stage
    "timm/lcnet_035",
    "timm/efficientnet_b0_g8_gn",  # groups, in the norms and in the depthwise kernels
    "timm/mnasnet_small",
    "timm/mobilenet_edgetpu_v2_xs",  # dense kernels in groups
    "timm/mobilenetv1_100h",  # an activation after the projection
    "timm/mobilenetv2_110d",
    "timm/mobilenetv3_large_150d",  # two convolutions at the end
    "timm/mobilenetv3_rw",  # gates with the block's activation, no bias in the head
    "timm/mobilenetv4_conv_small_035",  # universal bottlenecks, a norm in the head
    "timm/spnasnet_100",
    "timm/tf_efficientnet_b0",
    "timm/tf_efficientnetv2_b0",
    "timm/tf_mobilenetv3_small_minimal_100",
    "timm/tinynet_e",
    "timm/hardcorenas_a",
    "timm/test_efficientnet_evos",
    "timm/mixnet_s",  # kernels of several sizes, 1x1 ones in two groups
    "timm/tf_mixnet_s",
    "timm/efficientnet_b1_pruned",  # widths of each block
    "timm/efficientnet_blur_b0",
    "timm/efficientnet_x_b3",  # pixels become channels
    "timm/efficientnet_h_b5",
    "timm/efficientnet_cc_b0_4e",  # kernels of each image
    "timm/gc_efficientnetv2_rw_t",
    "timm/mobilenetv4_conv_aa_medium",
    "timm/mobilenetv4_hybrid_medium_075",  # attention
    "timm/res2next50",
    "timm/res2net50d",
    "timm/densenetblur121d",
    "timm/vgg11_bn",  # linear layers as convolutions
)
EACH = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.mark.parametrize("name", EACH)
def test_logits_equal_timms_in_float64(name: str, x64):
    assert_same_logits(name, IMAGE)


def test_state_dicts_go_in_and_out_of_timms_module():
    name = "test_efficientnet"
    theirs, twin = (timm.create_model(name) for _ in range(2))
    network = nnx.eval_shape(lambda: fb.create_model(TIMM_PREFIX + name, rngs=nnx.Rngs(0)))

    fb.load_state_dict(network, theirs.state_dict(), names="timm")
    exported = fb.state_dict(network, names="timm")
    twin.load_state_dict({key: torch.from_numpy(a) for key, a in exported.items()}, strict=True)

    for key, value in theirs.state_dict().items():
        assert torch.equal(twin.state_dict()[key], value), key
    image = torch.randn(2, 3, 33, 35)
    assert torch.equal(theirs.eval()(image), twin.eval()(image))


def test_what_does_not_fit_is_listed_at_once():
    network = nnx.eval_shape(lambda: fb.create_model("timm/test_efficientnet", rngs=nnx.Rngs(0)))
    weights = timm.create_model("test_efficientnet").state_dict()
    weights["blocks.9.weight"] = weights.pop("conv_stem.weight")
    weights["bn1.weight"] = torch.ones(5)
    with pytest.raises(ValueError) as caught:
        fb.load_state_dict(network, weights, names="timm")
    for line in (
        "missing conv_stem.weight, shape (24, 3, 3, 3)",
        "unexpected blocks.9.weight, shape (24, 3, 3, 3)",
        "misshapen bn1.weight: (5,) given, (24,) needed",
    ):
        assert line in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm/test_efficientnet", "timm/tf_efficientnet_b0"])
def test_gradients_and_statistics_equal_timms(name: str, x64):
    rng = np.random.default_rng(1)
    image, weights = rng.normal(size=(3, 75, 65, 3)), rng.normal(size=(3, 1000))
    twin = torch_network(name, image).train()
    network = flax_network(name, twin.state_dict())

    (twin(from_nhwc(image)) * torch.from_numpy(weights)).sum().backward()
    network.train()
    gradients = gradients_of(network, image, weights)

    moved = fb.state_dict(network, names="timm")
    for key, value in twin.named_buffers():
        limit = bound("float64", "statistic")
        assert measure.scaled_error(moved[key], value.numpy()) <= limit, key
    nnx.update(network, gradients)  # so that the gradients get timm's names
    ours = fb.state_dict(network, names="timm")
    truth = {key: gradient_of(param) for key, param in twin.named_parameters()}
    largest = max(np.abs(value).max() for value in truth.values())
    for key, value in truth.items():
        # A shift that the next norm takes away has no gradient but what rounding leaves.
        scale = max(np.abs(value).max(), 1e-3 * largest)
        assert measure.scaled_error(ours[key], value, scale) <= bound("float64", "gradient"), key


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "timm/test_efficientnet",
        "timm/mobilenetv3_small_050",
        "timm/mobilenet_edgetpu_v2_xs",
        "timm/mobilenetv2_035",
        "timm/fbnetc_100",
        "timm/mnasnet_small",
    ],
)
def test_fresh_tensors_have_timms_mean_and_deviation(name: str):
    torch.manual_seed(0)
    theirs = timm.create_model(name.removeprefix(TIMM_PREFIX)).state_dict()
    ours = fb.state_dict(fb.create_model(name, rngs=nnx.Rngs(0)), names="timm")
    for key, value in theirs.items():
        assert_same_distribution(key, ours[key].astype(np.float64), value.double().numpy())


@pytest.mark.parametrize(
    "name",
    ["timm/test_efficientnet", pytest.param("timm/lcnet_035", marks=pytest.mark.slow)],
)
def test_without_classes_the_features_are_timms(name: str, x64):
    image = np.random.default_rng(1).normal(size=IMAGE)
    twin: Any = torch_network(name, image).eval()
    weights = {k: v for k, v in twin.state_dict().items() if not k.startswith("classifier.")}
    network = flax_network(name, weights, num_classes=0)
    network.eval()

    twin.reset_classifier(0)
    truth = run_torch(twin, image)
    features = np.asarray(run_by_blocks(network, image))

    assert features.shape == truth.shape == (IMAGE[0], network.num_features)
    assert measure.scaled_error(features, truth) <= bound("float64", "output")


@pytest.mark.parametrize(
    "name",
    [
        "timm/test_efficientnet",
        *(
            pytest.param(f"timm/{name}", marks=pytest.mark.slow)
            for name in ("efficientnet_b0", "mobilenetv3_large_100", "fbnetv3_b", "fbnetc_100")
        ),
    ],
)
def test_training_drops_paths_at_timms_rates(name: str):
    rate = 0.3
    theirs: Any = timm.create_model(name.removeprefix(TIMM_PREFIX), drop_path_rate=rate)
    network = nnx.eval_shape(lambda: fb.create_model(name, drop_path_rate=rate, rngs=nnx.Rngs(0)))
    assert [
        block.drop_path.rate
        for stage in network.stages
        for block in stage.blocks
        if block.residual and block.drop_path is not None
    ] == pytest.approx(
        [
            block.drop_path.drop_prob
            for stage in theirs.blocks
            for block in stage
            if getattr(block, "has_skip", False) and hasattr(block.drop_path, "drop_prob")
        ]
    )
