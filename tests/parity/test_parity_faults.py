"""Each planted fault is found, at the layer where it is, and named."""

import jax
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
import torch_ref
from parity import compare

pytestmark = pytest.mark.usefixtures("quick")

CHECKS = ("float64", "float32", "statistics")


def twins(**flax_arguments):
    """A bottleneck in both libraries; stride 2 at an even size, where SAME pads unevenly."""
    jax_module = fb.BottleNeck(8, 16, 2, stride=2, **flax_arguments, rngs=nnx.Rngs(0))
    return torch_ref.BottleNeck(8, 16, 2, stride=2), jax_module


def run(torch_module, jax_module, checks=CHECKS):
    x = np.random.default_rng(0).normal(size=(2, 10, 12, 8)).astype(np.float32)
    return compare(torch_module, jax_module, x, checks=checks)


def plant_relu6(block):
    block.spatial.act = jax.nn.relu6


def plant_missing_last_activation(block):
    block.final_act = None


def plant_missing_bias(block):
    block.expand.conv.use_bias = False


@pytest.mark.parametrize(
    ("plant", "layer", "cause"),
    [
        (plant_relu6, "spatial", "activation: JAX applies relu6, PyTorch relu"),
        (plant_missing_last_activation, "the whole module", "missing activation: JAX applies"),
        (plant_missing_bias, "expand.conv", "bias: JAX adds none"),
    ],
)
def test_a_planted_fault_is_found_and_named(plant, layer, cause):
    torch_module, jax_module = twins()
    plant(jax_module)
    report = run(torch_module, jax_module, ("float64",))
    assert not report.ok
    (found,) = report.causes
    assert found.startswith(f"first divergence at {layer}"), found
    assert f"in eval mode: {cause}" in found, found


class BiasedBatchNorm(nnx.BatchNorm):
    """NNX's own normalization, which stores the biased variance."""

    def __init__(self, features, *, dtype, param_dtype, rngs):
        super().__init__(features, momentum=0.9, dtype=dtype, param_dtype=param_dtype, rngs=rngs)


def test_a_biased_stored_variance_is_found_and_named():
    report = run(*twins(norm=BiasedBatchNorm))
    assert {row.check for row in report.rows if row.ok is False} == {"float32", "statistics"}
    (found,) = report.causes
    assert found.startswith("first divergence at reduce.norm in train mode: variance bias: JAX st")
    assert "also at spatial.norm, expand.norm, shortcut.norm" in found


def test_equal_twins_have_no_cause():
    report = run(*twins())
    assert report.ok
    assert report.causes == ()


def test_other_names_are_reported_and_nothing_is_run():
    torch_module, _ = twins()
    report = run(torch_module, fb.MBConv(8, 16, rngs=nnx.Rngs(0)))
    assert not report.ok
    assert report.checks == ("names",)
    assert any("spatial.conv.weight" in row.quantity for row in report.rows)
    assert any("depthwise.conv.weight" in row.quantity for row in report.rows)
