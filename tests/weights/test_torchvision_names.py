"""torchvision's names for every network, there and back."""

from collections import OrderedDict
from typing import Any

import jax.numpy as jnp
import pytest
import torch
import torchvision
from flax import nnx

import flaxblocks as fb
from flaxblocks.weights.state_dict import NAMES
from tests.helpers.networks import (
    PUBLISHED,
    SMALLEST,
    abstract,
    abstract_torch,
    each_family,
    make_witness,
)
from torch_ref.harness.vendors import allocate

# Each kind of block, stem and head; it takes a second or two to make a network.
OTHERS = ("resnet50", "resnext50_32x4d", "efficientnet_v2_s", "regnet_x_400mf", "densenet121")
OTHERS += ("googlenet", "inception_v3", "alexnet", "vgg11_bn", "squeezenet1_0")
OTHERS += ("shufflenet_v2_x0_5",)
DEFAULT = {*SMALLEST.values(), *OTHERS}

BLOCKS = {  # blocks on their own, and torchvision's
    "ConvNormAct": (
        lambda rngs: fb.ConvNormAct(8, 12, use_bias=False, rngs=rngs),
        lambda: torchvision.ops.Conv2dNormActivation(8, 12),
    ),
    "SqueezeExcite": (
        lambda rngs: fb.SqueezeExcite(8, ratio=0.5, rngs=rngs),
        lambda: torchvision.ops.SqueezeExcitation(8, 4),
    ),
    "BottleNeck": (
        lambda rngs: fb.BottleNeck(64, 64, use_bias=False, rngs=rngs),
        lambda: torchvision.models.resnet.Bottleneck(64, 16),
    ),
    "BasicBlock": (
        lambda rngs: fb.BasicBlock(64, 64, use_bias=False, rngs=rngs),
        lambda: torchvision.models.resnet.BasicBlock(64, 64),
    ),
    "ConvNeXtBlock": (
        lambda rngs: fb.ConvNeXtBlock(8, rngs=rngs),
        lambda: torchvision.models.convnext.CNBlock(8, 1e-6, 0.0),
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in DEFAULT else [pytest.mark.slow]) for name in PUBLISHED],
)
def test_names_and_shapes_are_torchvisions(name: str):
    entries = NAMES["torchvision"](abstract(name))
    ours = {key: tuple(entry.shape) for key, entry in entries.items()}
    theirs = {key: tuple(value.shape) for key, value in abstract_torch(name).state_dict().items()}
    assert ours == theirs
    variables = [id(entry.variable) for entry in entries.values()]
    assert len(set(variables)) == len(theirs)  # a bijection: no variable has two names


@pytest.mark.parametrize("name", SMALLEST.values(), ids=SMALLEST)
def test_names_do_not_depend_on_the_order_of_attributes(name: str):
    """NNX sorts a module's attributes when it takes it apart and puts it together."""
    network = abstract(name)
    rebuilt = nnx.merge(*nnx.split(network))
    shapes, again = (
        {key: entry.shape for key, entry in NAMES["torchvision"](net).items()}
        for net in (network, rebuilt)
    )
    assert list(shapes.items()) == list(again.items())


@each_family
def test_state_dicts_go_in_and_out_of_torchvisions_module(name: str):
    theirs, twin = (allocate(make_witness(name)) for _ in range(2))
    for number, value in enumerate(theirs.state_dict().values()):
        value.copy_(torch.arange(value.numel()).reshape(value.shape) + number)
    network = nnx.eval_shape(lambda: fb.create_model(name, drop_rate=0, rngs=nnx.Rngs(0)))

    fb.load_state_dict(network, theirs.state_dict(), names="torchvision")
    exported: Any = OrderedDict(
        (key, torch.from_numpy(value))
        for key, value in fb.state_dict(network, names="torchvision").items()
    )
    exported._metadata = {"": {"version": 2}}  # MNASNet asks for the version of its layout
    twin.load_state_dict(exported, strict=True)

    for key, value in theirs.state_dict().items():
        assert torch.equal(twin.state_dict()[key], value), key


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_on_their_own_have_the_names_of_torchvisions_classes(name: str):
    make, make_torch = BLOCKS[name]
    block = make(nnx.Rngs(0))
    twin = make_torch().state_dict()
    assert {k: v.shape for k, v in fb.state_dict(block, names="torchvision").items()} == {
        key: tuple(value.shape) for key, value in twin.items()
    }
    fb.load_state_dict(block, twin, names="torchvision")


def test_headless_networks_have_every_name_but_the_classifiers():
    whole = abstract("resnet18")
    headless = nnx.eval_shape(lambda: fb.create_model("resnet18", num_classes=0, rngs=nnx.Rngs(0)))
    missing = NAMES["torchvision"](whole).keys() - NAMES["torchvision"](headless).keys()
    assert missing == {"fc.weight", "fc.bias"}


def test_a_parameter_without_a_name_is_an_error_not_a_loss():
    network = nnx.eval_shape(lambda: fb.create_model("mobilenet_v3_small", rngs=nnx.Rngs(0)))
    head: Any = network.head
    head.temperature = nnx.Param(jnp.ones(()))
    head.others = nnx.data(
        {"a": [nnx.Param(jnp.ones(()))], "b": nnx.List([nnx.Param(jnp.ones(()))])}
    )
    unnamed = "do not cover: head/temperature, head/others/a/0, head/others/b/0"
    with pytest.raises(ValueError, match=unnamed):
        fb.state_dict(network, names="torchvision")


def test_a_class_without_names_is_an_error():
    block = fb.DepthWiseSeparableConv(8, 8, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="does not cover DepthWiseSeparableConv"):
        fb.state_dict(block, names="torchvision")
