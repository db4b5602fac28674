"""A network of each family through every format, in float32, on crops of photographs."""

import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
from flaxblocks.exporting.formats import FORMATS
from tests.helpers.exported import FORMAT_NAMES, crops, randomized
from tests.helpers.networks import SMALLEST

pytestmark = pytest.mark.slow

NETWORKS = (
    *SMALLEST.values(),
    "squeezenet1_1",
    "densenet121",
    "shufflenet_v2_x0_5",
    "googlenet",
    "timm/test_resnet",
    "timm/test_convnext",
    "timm/test_efficientnet",
    "timm/test_efficientnet_gn",
)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_is_the_same_function(format: str, name: str, tmp_path):
    model = randomized(fb.create_model(name, rngs=nnx.Rngs(0)))
    path = fb.export(model, tmp_path / f"model{FORMATS[format].suffixes[0]}", input_size=64)
    preprocess = fb.load_exported(path).preprocess
    assert preprocess is not None
    mean, std = (np.asarray(color, np.float32) for color in (preprocess.mean, preprocess.std))
    images = (crops(4, 64) / np.float32(255) - mean) / std
    found = fb.verify_exported(model, path, images)
    assert found.ok and found.same_class == 4, found
