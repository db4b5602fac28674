"""timm's blocks, whose norms apply the activation too, are compared layer by layer all the same."""

from functools import partial

import numpy as np
import pytest
import timm
import torch
from flax import nnx
from timm.models._efficientnet_blocks import (
    DepthwiseSeparableConv,
    InvertedResidual,
    SqueezeExcite,
)
from timm.models.convnext import ConvNeXtBlock

import flaxblocks as fb
from flaxblocks.layers.response_norm import GlobalResponseNorm
from parity import compare
from parity.sides.pairing import pair_up
from tests.helpers.networks import abstract, make_witness

pytestmark = pytest.mark.usefixtures("quick")

X = np.random.default_rng(0).normal(size=(2, 10, 12, 8)).astype(np.float32)
CHECKS = ("names", "float64", "gradients", "statistics")


class HardGate(SqueezeExcite):
    """A gate as MobileNetV3 has it; its rate is of the wide width here."""

    def __init__(self, channels: int, **arguments):
        super().__init__(channels, rd_ratio=1 / 16, gate_layer="hard_sigmoid", **arguments)


def twins() -> tuple[torch.nn.Module, nnx.Module]:
    """Return timm's block and ours; stride 2 at an even size, where SAME pads unevenly."""
    theirs = InvertedResidual(
        8, 12, exp_ratio=4, stride=2, act_layer=torch.nn.Hardswish, se_layer=HardGate
    )
    ours = fb.MBConv(
        8,
        12,
        4,
        stride=2,
        use_bias=False,
        act=fb.activations.hard_swish,
        final_act=None,
        se=partial(
            fb.SqueezeExcite,
            ratio=1 / 16,
            act=fb.activations.hard_swish,
            gate=fb.activations.hard_sigmoid,
        ),
        rngs=nnx.Rngs(0),
    )
    return theirs, ours


def run(theirs: torch.nn.Module, ours: nnx.Module, x: np.ndarray = X):
    return compare(theirs, ours, x, names="timm", checks=CHECKS)


def layers_of(report) -> set[str]:
    return {row.quantity.partition(" (eval")[0] for row in report.of("float64")}


def test_a_norms_output_and_its_units_are_both_compared():
    report = run(*twins())
    assert report.ok, str(report)
    units = {"expand", "expand.norm", "depthwise", "depthwise.norm", "project.norm"}
    assert units <= layers_of(report)


def test_an_activation_that_the_block_applies_is_not_taken_for_its_units():
    theirs = DepthwiseSeparableConv(8, 12, noskip=True, pw_act=True)
    ours = fb.MBConv(
        8,
        12,
        1,
        use_bias=False,
        act=fb.activations.relu,
        residual=False,
        rngs=nnx.Rngs(0),
    )
    report = run(theirs, ours)
    assert report.ok, str(report)
    assert "project" not in layers_of(report)
    assert "project.norm" in layers_of(report)


def test_channels_are_found_where_timms_block_has_them_last():
    theirs = ConvNeXtBlock(8, use_grn=True)
    ours = fb.ConvNeXtBlock(8, response_norm=GlobalResponseNorm, layer_scale=1e-6, rngs=nnx.Rngs(0))
    report = run(theirs, ours)
    assert report.ok, str(report)
    assert {"norm", "expand", "response_norm", "project"} <= layers_of(report)


def test_equal_names_that_mean_something_else_are_not_compared():
    """timm's stem has two convolutions; our second stands before the first stage."""
    name = "timm/convnext_zepto_rms_ols"
    paths = pair_up(make_witness(name), abstract(name), "timm").paths
    assert paths["stem.0"] == "stem.layers.0.conv"
    assert paths["stem.2"] == "stages.0.downsample.conv"
    assert paths["stem"] == "PyTorch's stem"
    assert paths[""] == ""


def plant_padding(block):
    block.depthwise.conv.padding = "SAME"


def plant_eps(block):
    block.depthwise.norm.epsilon = 1e-3


def plant_wrong_activation(block):
    block.expand.act = fb.activations.silu


def plant_missing_activation(block):
    block.expand.act = None


def plant_wrong_gate(block):
    block.se.gate = fb.activations.sigmoid


FAULTS = [
    (plant_padding, "depthwise.conv", "padding: JAX pads as TensorFlow's SAME"),
    (plant_eps, "depthwise.norm", "eps: JAX adds 0.001"),
    (plant_wrong_activation, "expand", "activation: JAX applies silu, PyTorch hard_swish"),
    (plant_missing_activation, "bn1.act", "missing activation: JAX applies none, PyTorch hard_sw"),
    (plant_wrong_gate, "se.gate", "activation: JAX applies sigmoid, PyTorch hard_sigmoid"),
]


@pytest.mark.parametrize(
    ("plant", "layer", "cause"),
    # The kinds are told apart in any network; here it is the layer that counts.
    [*FAULTS[:2], *(pytest.param(*fault, marks=pytest.mark.slow) for fault in FAULTS[2:])],
)
def test_a_planted_fault_is_found_at_its_layer(plant, layer, cause):
    theirs, ours = twins()
    plant(ours)
    report = run(theirs, ours)
    assert not report.ok
    assert report.causes[0].startswith(f"first divergence at {layer} in eval mode: {cause}")


@pytest.mark.slow
@pytest.mark.parametrize(("plant", "layer", "cause"), FAULTS[:3])
def test_a_fault_planted_in_a_network_is_found_at_its_layer(plant, layer, cause):
    theirs = timm.create_model("mobilenetv3_small_050")
    ours = fb.create_model("timm/mobilenetv3_small_050", drop_rate=0, rngs=nnx.Rngs(0))
    path = "stages.2.blocks.0"  # of stride 2
    plant(ours.stages[2].blocks[0])
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    report = run(theirs, ours, x)
    assert report.causes[0].startswith(f"first divergence at {path}.{layer} in eval mode: {cause}")
