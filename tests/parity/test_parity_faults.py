"""Each planted fault is found, at the layer where it is, and named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxblocks as fb
import torch_ref
from parity import compare

CHECKS = ("float64", "float32", "statistics")


def twins(**flax_arguments):
    """A bottleneck in both libraries; stride 2 at an even size, where SAME pads unevenly."""
    flax_module = fb.BottleNeck(8, 16, 2, stride=2, **flax_arguments, rngs=nnx.Rngs(0))
    return torch_ref.BottleNeck(8, 16, 2, stride=2), flax_module


def run(torch_module, flax_module, checks=CHECKS):
    x = np.random.default_rng(0).normal(size=(2, 10, 12, 8)).astype(np.float32)
    return compare(torch_module, flax_module, x, checks=checks)


def plant_padding(block):
    block.spatial.conv.padding = "SAME"


def plant_eps(block):
    block.reduce.norm.epsilon = 1e-3


def plant_mirrored_kernel(block):
    convolve = block.spatial.conv.conv_general_dilated
    block.spatial.conv.conv_general_dilated = lambda x, kernel, *args, **kwargs: convolve(
        x, kernel[::-1, ::-1], *args, **kwargs
    )


def plant_transposed_kernel(block):
    convolve = block.spatial.conv.conv_general_dilated
    block.spatial.conv.conv_general_dilated = lambda x, kernel, *args, **kwargs: convolve(
        x, kernel.swapaxes(0, 1), *args, **kwargs
    )


def plant_missing_activation(block):
    block.reduce.act = None


def plant_wrong_activation(block):
    block.spatial.act = jax.nn.relu6


def plant_missing_last_activation(block):
    block.final_act = None


def plant_missing_bias(block):
    block.expand.conv.use_bias = False


def plant_bfloat16_products(block):
    convolve = block.expand.conv.conv_general_dilated

    def rounded(x, kernel, *args, **kwargs):
        low = (value.astype(jnp.bfloat16).astype(value.dtype) for value in (x, kernel))
        return convolve(*low, *args, **kwargs)

    block.expand.conv.conv_general_dilated = rounded


def plant_float32(block):
    block.reduce.conv.dtype = jnp.float32


def plant_momentum(block):
    block.spatial.norm.momentum = 0.1


@pytest.mark.parametrize(
    ("plant", "layer", "cause"),
    [
        (plant_padding, "spatial.conv", "padding"),
        (plant_eps, "reduce.norm", "eps: Flax adds 0.001"),
        (plant_mirrored_kernel, "spatial.conv", "layout: the kernel is mirrored"),
        (plant_transposed_kernel, "spatial.conv", "layout: the kernel's height and width"),
        (plant_missing_activation, "reduce", "missing activation"),
        (plant_wrong_activation, "spatial", "activation: Flax applies relu6"),
        (plant_missing_last_activation, "the whole module", "missing activation"),
        (plant_missing_bias, "expand.conv", "bias"),
        (plant_bfloat16_products, "expand.conv", "reduced matmul precision"),
        (plant_float32, "reduce.conv", "reduced matmul precision"),
        (plant_momentum, "spatial.norm", "momentum"),
    ],
)
def test_a_planted_fault_is_found_and_named(plant, layer, cause):
    torch_module, flax_module = twins()
    plant(flax_module)
    report = run(torch_module, flax_module)
    assert not report.ok
    assert f"at {layer}" in report.causes[0], report.causes
    assert cause in report.causes[0], report.causes


class BiasedBatchNorm(nnx.BatchNorm):
    """NNX's own normalization, which stores the biased variance."""

    def __init__(self, features, *, dtype, param_dtype, rngs):
        super().__init__(features, momentum=0.9, dtype=dtype, param_dtype=param_dtype, rngs=rngs)


def test_a_biased_stored_variance_is_found_and_named():
    report = run(*twins(norm=BiasedBatchNorm))
    assert {row.check for row in report.rows if row.ok is False} == {"float32", "statistics"}
    assert "variance bias at reduce.norm" in report.causes[0]


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
