"""timm's ResNets, RegNets and ConvNeXts compute what timm's own modules do."""

from collections.abc import Sequence

import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm.layers.drop import DropPath

import flaxblocks as fb
from flaxblocks.models.record import TIMM_PREFIX
from flaxblocks.models.timm import convnext, regnet, resnet_table
from flaxblocks.weights.state_dict import NAMES
from parity.sides.weights import randomize
from tests.helpers.arrays import assert_same_distribution
from tests.helpers.networks import (
    abstract,
    flax_network,
    make_witness,
    run_by_blocks,
    run_torch,
    torch_network,
)
from tests.helpers.twins import assert_same
from torch_ref.harness.vendors import allocate

NAMED = [
    name
    for family in (resnet_table, regnet, convnext)
    for networks in family.NETWORKS.values()
    for name in networks
] + ["ecaresnet50d_pruned", "ecaresnet101d_pruned"]
QUICK = ("test_resnet", "regnetz_005", "test_convnext3", "convnext_zepto_rms_ols")
LARGE = """
    resnet152 resnet152c resnet152d resnet152s resnet200 resnet200d wide_resnet50_2
    wide_resnet101_2 resnext101_32x8d resnext101_32x16d resnext101_32x32d resnext101_64x4d
    seresnet152 seresnet152d seresnet200d seresnet269d seresnext101_32x8d seresnext101_64x4d
    seresnext101d_32x8d ecaresnet200d ecaresnet269d resnetrs101 resnetrs152 resnetrs200
    resnetrs270 resnetrs350 resnetrs420 seresnextaa101d_32x8d seresnextaa201d_32x8d
    regnetx_320 regnety_160 regnety_320 regnety_640 regnety_1280 regnety_2560 convnext_base
    convnext_large convnext_large_mlp convnext_xlarge convnext_xxlarge convnextv2_base
    convnextv2_large convnextv2_huge senet154
""".split()  # over 60 million parameters; smaller ones have every part of theirs


def marked(names: Sequence[str], quick: Sequence[str]) -> list:
    """Return the names for a test, all but the quick ones marked as slow."""
    return [
        pytest.param(TIMM_PREFIX + name, marks=[] if name in quick else [pytest.mark.slow])
        for name in names
    ]


IMAGE, EVEN_IMAGE = (2, 37, 33, 3), (2, 64, 32, 3)


@pytest.mark.parametrize("name", marked(NAMED, QUICK))
def test_names_and_shapes_are_timms(name: str):
    entries = NAMES["timm"](abstract(name))
    theirs = {key: tuple(value.shape) for key, value in make_witness(name).state_dict().items()}
    assert {key: tuple(entry.shape) for key, entry in entries.items()} == theirs
    assert list(entries) == list(theirs)  # in the same order
    variables = {id(entry.variable) for entry in entries.values()}
    assert len(variables) == len(theirs)  # a bijection: no variable has two names


TWINS = {  # torchvision's networks, and timm's with the same tensors
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnext50_32x4d": "resnext50_32x4d",
    "wide_resnet50_2": "wide_resnet50_2",
    "regnet_x_400mf": "regnetx_004_tv",
    "regnet_x_8gf": "regnetx_080",
    "regnet_y_400mf": "regnety_004",
    "regnet_y_800mf": "regnety_008_tv",
    "regnet_y_8gf": "regnety_080_tv",
    "convnext_tiny": "convnext_tiny",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("resnet18", "regnet_y_400mf") else pytest.mark.slow)
        for name in TWINS
    ],
)
def test_torchvisions_networks_have_timms_names_too(name: str):
    entries = NAMES["timm"](abstract(name))
    theirs = make_witness(TIMM_PREFIX + TWINS[name]).state_dict()
    assert {key: tuple(entry.shape) for key, entry in entries.items()} == {
        key: tuple(value.shape) for key, value in theirs.items()
    }


def test_a_stem_that_torchvision_has_not_has_none_of_its_names():
    with pytest.raises(ValueError, match="do not cover: stem/layers/1"):
        NAMES["torchvision"](abstract("timm/test_resnet"))


def test_the_large_networks_are_networks():
    assert set(LARGE) < set(NAMED)


@pytest.mark.parametrize("name", marked([n for n in NAMED if n not in LARGE], QUICK[:3]))
def test_outputs_equal_timms_in_float64(name: str, x64):
    """Averages without the odd edge fit the shortcuts only where no size is odd."""
    shape = EVEN_IMAGE if "resnetaa" in name or "resnextaa" in name else IMAGE
    image = np.random.default_rng(1).normal(size=shape)
    twin = torch_network(name, image)
    network = flax_network(name, twin.state_dict())

    truth = run_torch(twin.eval(), image)
    network.eval()
    logits = np.asarray(run_by_blocks(network, image))

    assert np.std(truth[0] - truth[1]) > 1e-3 * np.std(truth)  # the image is not lost on the way
    assert_same(logits, truth)
    again = {k: torch.from_numpy(v) for k, v in fb.state_dict(network, names="timm").items()}
    loaded = allocate(make_witness(name).double())
    loaded.load_state_dict(again, strict=True)
    for key, value in twin.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_without_classes_timms_pooled_features_come_out(name: str, x64):
    image = np.random.default_rng(1).normal(size=IMAGE)
    twin = timm.create_model(name, num_classes=0).double().eval()
    randomize(twin, np.random.default_rng(0))
    network = flax_network(TIMM_PREFIX + name, twin.state_dict(), num_classes=0)
    network.eval()
    assert_same(run_by_blocks(network, image), run_torch(twin, image))


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_convnext",
        pytest.param("regnety_002", marks=pytest.mark.slow),
        pytest.param("regnetz_005", marks=pytest.mark.slow),
    ],
)
def test_each_tensor_is_drawn_from_timms_distribution(name: str):
    torch.manual_seed(0)
    theirs = timm.create_model(name).state_dict()
    ours = fb.state_dict(fb.create_model(TIMM_PREFIX + name, rngs=nnx.Rngs(0)), names="timm")
    for key, value in theirs.items():
        assert_same_distribution(key, ours[key].astype(np.float64), value.double().numpy())


@pytest.mark.parametrize("name", ["test_resnet", "regnetz_005", "test_convnext"])
def test_stochastic_depth_grows_as_timms(name: str):
    twin = timm.create_model(name, drop_path_rate=0.3)
    theirs = [m.drop_prob for m in twin.modules() if isinstance(m, DropPath)]
    network = nnx.eval_shape(
        lambda: fb.create_model(TIMM_PREFIX + name, drop_path_rate=0.3, rngs=nnx.Rngs(0))
    )
    blocks = [block for stage in network.stages for block in stage.blocks]
    ours = [block.drop_path.rate for block in blocks if block.drop_path is not None]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert (
        abstract(TIMM_PREFIX + name).stages[0].blocks[0].drop_path is None
    )  # timm's own rate is 0
