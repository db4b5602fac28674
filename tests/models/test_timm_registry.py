"""timm's networks by name: which of them there are, and that their tensors are timm's."""

from pathlib import Path

import jax
import pytest
import timm
from flax import nnx
from timm.models._efficientnet_blocks import EdgeResidual, InvertedResidual

import flaxblocks as fb
from flaxblocks.models.record import TIMM_PREFIX
from flaxblocks.weights.state_dict import NAMES
from tests.helpers.networks import abstract, abstract_torch

RESIDUAL = ("resnet", "regnet", "convnext")
OTHERS = ("efficientnet", "mobilenetv3", "hardcorenas", "densenet", "vgg", "res2net", "byobnet")
OTHERS += ("dla", "rexnet", "resnetv2")
OTHERS += ("starnet", "inception_next", "metaformer")
OTHERS += ("repvit", "ghostnet", "repghost", "senet", "hgnet", "cspnet", "nfnet")
MODULES = (*RESIDUAL, *OTHERS)
THEIRS = [name for module in MODULES for name in timm.list_models(module=module)]
OURS = fb.list_models("timm/*")
NOT_RESIDUAL = [
    name
    for module in OTHERS
    for name in (TIMM_PREFIX + theirs for theirs in timm.list_models(module=module))
    if name in OURS
]

QUICK = (  # to make, and different from each other
    "timm/test_efficientnet",
    "timm/lcnet_035",
    "timm/mobilenetv1_100h",
    "timm/mobilenetv3_rw",
    "timm/vgg11",
    "timm/hardcorenas_a",
    "timm/test_byobnet",
    "timm/dla46_c",
    "timm/rexnet_100",
    "timm/resnetv2_18d",
    "timm/resnetv2_50x1_bit",
    "timm/repghostnet_050",
    "timm/legacy_seresnet18",
    "timm/hgnetv2_b0",
    "timm/cs3darknet_s",
    "timm/cs3sedarknet_xdw",
    "timm/cspdarknet53",
    "timm/test_nfnet",
    "timm/starnet_s050",
    "timm/inception_next_atto",
)
EACH = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in NOT_RESIDUAL
]

TWINS = {  # torchvision's networks, and timm's with the same tensors
    "efficientnet_b0": "timm/efficientnet_b0",
    "efficientnet_b1": "timm/efficientnet_b1",
    "efficientnet_b2": "timm/efficientnet_b2",
    "efficientnet_b3": "timm/efficientnet_b3",
    "efficientnet_b4": "timm/efficientnet_b4",
    "efficientnet_b5": "timm/efficientnet_b5",
    "efficientnet_b6": "timm/efficientnet_b6",
    "efficientnet_b7": "timm/efficientnet_b7",
    "efficientnet_v2_s": "timm/efficientnetv2_s",
    "efficientnet_v2_m": "timm/efficientnetv2_m",
    "efficientnet_v2_l": "timm/efficientnetv2_l",
    "mnasnet0_5": "timm/mnasnet_050",
    "mnasnet0_75": "timm/mnasnet_075",
    "mnasnet1_0": "timm/mnasnet_100",
    "mobilenet_v2": "timm/mobilenetv2_100",
    "mobilenet_v3_large": "timm/mobilenetv3_large_100",
    "mobilenet_v3_small": "timm/mobilenetv3_small_100",
}
EACH_TWIN = [
    pytest.param(name, marks=[] if name == "mobilenet_v3_small" else [pytest.mark.slow])
    for name in TWINS
]


def shapes(names: str, network: nnx.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(entry.shape) for name, entry in NAMES[names](network).items()}


def timm_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in abstract_torch(name).state_dict().items()}


def test_all_networks_of_these_files_of_timms_are_here_as_the_readme_counts_them():
    assert {name.removeprefix(TIMM_PREFIX) for name in OURS} == set(THEIRS)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"all {len(OURS)} of {len(MODULES)} of timm's model files" in readme


@pytest.mark.parametrize("name", EACH)
def test_names_and_shapes_are_timms(name: str):
    entries = NAMES["timm"](abstract(name))
    theirs = timm_shapes(name)
    assert {key: tuple(entry.shape) for key, entry in entries.items()} == theirs
    assert list(entries) == list(theirs)  # in the same order
    variables = {id(entry.variable) for entry in entries.values()}
    assert len(variables) == len(theirs)  # a bijection: no variable has two names
    ours = sum(param.size for param in jax.tree.leaves(nnx.state(abstract(name), nnx.Param)))
    assert ours == sum(param.numel() for param in abstract_torch(name).parameters())


@pytest.mark.parametrize("name", EACH_TWIN)
def test_torchvisions_networks_have_timms_names_too(name: str):
    assert shapes("timm", abstract(name)) == timm_shapes(TWINS[name])


def test_blocks_on_their_own_have_the_names_of_timms_class():
    for kind, twin in (
        (fb.MBConv, InvertedResidual(8, 12, exp_ratio=4)),
        (fb.FusedMBConv, EdgeResidual(8, 12, exp_ratio=4)),
    ):
        block = kind(8, 12, use_bias=False, rngs=nnx.Rngs(0))
        theirs = {key: tuple(value.shape) for key, value in twin.state_dict().items()}
        assert shapes("timm", block) == theirs


def test_timms_own_networks_have_no_names_of_torchvisions():
    network = abstract("timm/mobilenetv3_rw")
    with pytest.raises(ValueError, match="does not cover the family 'mobile'"):
        NAMES["torchvision"](network)
