"""Every network computes what torchvision's does with the same weights and statistics."""

import jax.numpy as jnp
import numpy as np
import pytest

from parity.checks import measure
from parity.checks.tolerance import bound
from tests.helpers.networks import (
    PUBLISHED,
    SMALLEST,
    assert_same_logits,
    flax_network,
    run_by_blocks,
    run_torch,
    torch_network,
)

QUICK = ("resnet18", "mobilenet_v3_small", "mnasnet0_5", "regnet_y_400mf", "convnext_tiny")
QUICK += ("squeezenet1_1", "shufflenet_v2_x0_5")
IN_FLOAT32 = ("ResNet", "MobileNetV3")  # dense and depthwise kernels, gates
IMAGE = (2, 37, 33, 3)  # odd, so that symmetric and TensorFlow's padding differ everywhere
LARGER = {"alexnet": (2, 71, 67, 3), "inception_v3": (2, 79, 77, 3)}  # pad less

SIZED = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in PUBLISHED
]


@pytest.mark.parametrize("name", SIZED)
def test_logits_equal_torchvisions_in_float64(name: str, x64):
    assert_same_logits(name, LARGER.get(name, IMAGE))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=family, marks=[] if family in IN_FLOAT32 else [pytest.mark.slow])
        for family, name in SMALLEST.items()
    ],
)
def test_float32_is_as_accurate_as_torchvisions_at_native_resolution(name: str):
    image = np.random.default_rng(1).normal(size=(2, 224, 224, 3)).astype(np.float32)
    twin = torch_network(name, image.astype(np.float64)).eval()
    truth = run_torch(twin, image.astype(np.float64))
    theirs = run_torch(twin.float(), image)
    network = flax_network(name, twin.state_dict(), param_dtype=jnp.float32)
    network.eval()
    ours = np.asarray(run_by_blocks(network, image))

    assert ours.dtype == theirs.dtype == np.float32
    limit = max(
        bound("float32", "output") * measure.rms_error(theirs, truth), bound("float32", "floor")
    )
    assert measure.rms_error(ours, truth) <= limit
