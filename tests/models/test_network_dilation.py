"""Dilated networks compute what torchvision's and timm's own dilated modules do."""

from functools import partial

import jax
import numpy as np
import pytest
import timm
import torch
from flax import nnx
from torchvision.models import mobilenetv3, resnet50

import flaxblocks as fb
from flaxblocks.blocks.residual import PooledProjection
from parity.checks import measure
from parity.checks.tolerance import bound
from tests.helpers import tolerance
from tests.helpers.networks import (
    flax_network,
    run_by_blocks,
    run_torch,
    torch_network,
    with_random_weights,
)
from torch_ref.harness.layout import from_nhwc, to_nhwc

IMAGE = (1, 65, 49, 3)


def _mobilenet_v3_small() -> torch.nn.Module:
    rows, last = mobilenetv3._mobilenet_v3_conf("mobilenet_v3_small", dilated=True)
    return mobilenetv3.MobileNetV3(rows, last)


TORCHVISION = [
    pytest.param("mobilenet_v3_small", 16, _mobilenet_v3_small, id="mobilenet_v3_small"),
    pytest.param(
        "resnet50",
        8,
        partial(resnet50, replace_stride_with_dilation=[False, True, True]),
        id="resnet50",
        marks=pytest.mark.slow,
    ),
]
TIMM = [
    ("timm/test_resnet", 8),  # basic and bottleneck blocks, pooled shortcuts
    ("timm/test_efficientnet", 8),  # dense and depthwise kernels
    ("timm/test_convnext", 8),
    ("timm/resnetblur18", 16),  # blurred without halving
    *(
        pytest.param(name, stride, marks=pytest.mark.slow)
        for name, stride in (
            ("timm/resnet18", 8),
            ("timm/resnet26", 16),
            ("timm/resnetblur50d", 8),
            ("timm/resnetaa50d", 8),
            ("timm/regnetx_002", 8),
            ("timm/regnetz_005", 8),  # inverted, no shortcut where the width changes
            ("timm/tf_efficientnet_lite0", 8),  # TensorFlow's padding
            ("timm/mobilenetv2_050", 8),
            ("timm/test_byobnet", 8),  # kernels of 3x3 first, last and alone
            ("timm/resnet50_clip_gap", 8),  # averages in place of strides
        )
    ),
]


def _assert_same(network: nnx.Module, twin: torch.nn.Module, image: np.ndarray) -> None:
    network.eval()
    ours, truth = np.asarray(run_by_blocks(network, image)), run_torch(twin.eval(), image)
    assert measure.scaled_error(ours, truth, np.abs(truth).max()) <= bound("float64", "output")


@pytest.mark.parametrize("name,stride,make", TORCHVISION)
def test_equals_torchvisions_dilated_network_in_float64(name: str, stride: int, make, x64):
    image = np.random.default_rng(1).normal(size=IMAGE)
    twin = with_random_weights(make().double(), image)
    network = flax_network(name, twin.state_dict(), output_stride=stride)
    _assert_same(network, twin, image)


@pytest.mark.parametrize("name,stride", TIMM)
def test_equals_timms_dilated_network_in_float64(name: str, stride: int, x64):
    image = np.random.default_rng(1).normal(size=IMAGE)
    twin = timm.create_model(name.removeprefix("timm/"), output_stride=stride).double()
    twin = with_random_weights(twin, image)
    network = flax_network(name, twin.state_dict(), output_stride=stride)
    _assert_same(network, twin, image)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv4_conv_small_035", "tf_mobilenetv3_small_minimal_100"])
def test_feature_maps_equal_timms_where_only_they_can_be_dilated(name: str, x64):
    image = np.random.default_rng(1).normal(size=(2, *IMAGE[1:]))
    whole = torch_network(f"timm/{name}", image)
    twin = timm.create_model(name, features_only=True, output_stride=8).double().eval()
    assert not twin.load_state_dict(whole.state_dict(), strict=False).missing_keys
    network = flax_network(f"timm/{name}", whole.state_dict(), output_stride=8)
    network.eval()
    ours = np.asarray(nnx.jit(lambda network, x: network.features(x)[-1])(network, image))
    with torch.no_grad():
        truth = to_nhwc(twin(from_nhwc(image))[-1])
    assert measure.scaled_error(ours, truth, np.abs(truth).max()) <= bound("float64", "output")


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_no_map_is_coarser_than_asked(stride: int):
    network = nnx.eval_shape(
        lambda: fb.create_model("resnet18", output_stride=stride, rngs=nnx.Rngs(0))
    )
    strides = [info.stride for info in network.feature_info]
    assert max(strides) == stride
    shapes = nnx.eval_shape(lambda n, x: n.features(x), network, np.zeros((1, 64, 64, 3), "f4"))
    assert [64 // shape.shape[1] for shape in shapes] == strides


def test_a_dilated_shortcut_infers_natively_what_it_computes():
    shortcut = PooledProjection(3, 4, stride=1, dilated=True, rngs=nnx.Rngs(0))
    shortcut.eval()
    x = jax.random.normal(jax.random.key(1), (1, 9, 7, 3))
    run = nnx.jit(lambda module, x: module(x))
    with fb.ops.convolution("native"):
        fast = np.asarray(run(fb.for_inference(shortcut), x))
    truth = np.asarray(run(shortcut, x))
    limit = tolerance.bound("float32", "output")
    assert measure.scaled_error(fast, truth, np.abs(truth).max()) <= limit


def test_other_output_strides_are_refused():
    with pytest.raises(ValueError, match="`output_stride` must be 8, 16 or 32, got 4"):
        nnx.eval_shape(lambda: fb.create_model("resnet18", output_stride=4, rngs=nnx.Rngs(0)))
