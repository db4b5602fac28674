"""torchvision's networks and ours: their published counts, and pairs with the same weights."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

import flaxblocks as fb
from flaxblocks._base.functional import loss_and_gradients
from flaxblocks.models import Backbone, Segmenter
from parity.checks import measure
from parity.checks.tolerance import bound
from parity.sides.flax_side import compiled
from parity.sides.weights import BATCH_NORM, randomize
from torch_ref.harness.exact_gradients import ExactGradients
from torch_ref.harness.layout import from_nhwc
from torch_ref.harness.vendors import allocate, make_network

Factors = Mapping[str, float]
NO_FACTORS: Factors = MappingProxyType({})

PUBLISHED = {  # parameters; the records are held against torchvision's metadata
    name: fb.model_info(name).parameters
    for name in fb.list_models(task="classification")
    if "/" not in name
}
SEGMENTERS = fb.list_models(task="segmentation")

SMALLEST = {  # of each family
    "ResNet": "resnet18",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3": "mobilenet_v3_small",
    "MNASNet": "mnasnet0_5",
    "EfficientNet": "efficientnet_b0",
    "RegNet": "regnet_y_400mf",
    "ConvNeXt": "convnext_tiny",
}
UNLIKE = ("ResNet", "MobileNetV3", "RegNet", "ConvNeXt")  # the others are made of their parts
each_family = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=family, marks=[] if family in UNLIKE else [pytest.mark.slow])
        for family, name in SMALLEST.items()
    ],
)


@cache
def abstract(name: str) -> Backbone:
    """Return our network without its arrays; it is shared, so leave it as it is."""
    return nnx.eval_shape(lambda: fb.create_model(name, rngs=nnx.Rngs(0)))


def make_witness(name: str) -> torch.nn.Module:
    """Return torchvision's or timm's own module without its arrays."""
    record = fb.model_info(name)
    return make_network(record.source, record.name_at_source)


abstract_torch = cache(make_witness)


def torch_network(
    name: str, image: np.ndarray, seed: int = 0, factors: Factors = NO_FACTORS
) -> torch.nn.Module:
    """Return torchvision's or timm's network in float64, see `with_random_weights`."""
    return with_random_weights(allocate(make_witness(name).double()), image, seed, factors)


def with_random_weights(
    network: torch.nn.Module, image: np.ndarray, seed: int = 0, factors: Factors = NO_FACTORS
) -> torch.nn.Module:
    """Give a network of float64 random weights and statistics, in place, and return it.

    The statistics have the size of the image's own, so that no activation saturates and every
    layer counts in the output, and no channel is blown up until its rounding shows.

    Args:
        network: the network.
        image: one or more, NHWC.
        seed: of what is drawn.
        factors: what parameters are multiplied by, by a part of their names.
    """
    rng = np.random.default_rng(seed)
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORM)]
    # A ReLU halves the variance, which a normalization or a convolution's own gain makes up for.
    keeps = norms or any(name.endswith(".gain") for name, _ in network.named_parameters())
    randomize(network, rng, gain=1.0 if keeps else 2.0)
    for part, factor in factors.items():
        chosen = [value for name, value in network.named_parameters() if part in name]
        assert chosen, part
        for value in chosen:
            value.data *= factor
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    for module in network.modules():
        module.train(isinstance(module, BATCH_NORM))
    with torch.no_grad():
        network(from_nhwc(image))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        _move(norm, rng)
    return network


@torch.no_grad()
def _move(norm: BatchNorm, rng: np.random.Generator) -> None:
    mean, var, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert mean is not None and var is not None and batches is not None
    shape = tuple(mean.shape)
    mean += torch.from_numpy(rng.normal(0, 0.2, shape)) * var.sqrt()
    norm.running_var = var.mean() * torch.from_numpy(rng.uniform(0.5, 2.0, shape))
    batches.fill_(int(rng.integers(1, 100)))


def flax_network(name: str, weights: dict, **options) -> Backbone:
    """Return our network in float64 with its source's weights and nothing random in it."""
    options = {"drop_rate": 0, "drop_path_rate": 0, "param_dtype": jnp.float64, **options}
    network = nnx.eval_shape(lambda: fb.create_model(name, rngs=nnx.Rngs(0), **options))
    fb.load_state_dict(network, weights, names=fb.model_info(name).source)
    return network


def run_torch(network: torch.nn.Module, image: np.ndarray) -> np.ndarray:
    """Return the logits for an NHWC image."""
    with torch.no_grad(), ExactGradients():
        return network(from_nhwc(image)).numpy()


def _call(graphdef: nnx.GraphDef, state: nnx.State, x: jax.Array) -> jax.Array:
    return nnx.merge(graphdef, state)(x)


def _gradients(
    graphdef: nnx.GraphDef, params: nnx.State, rest: nnx.State, x: jax.Array, weights: jax.Array
) -> tuple[nnx.State, nnx.State]:
    _, statistics, gradients, _ = loss_and_gradients(
        graphdef, params, rest, x, weights, loss=lambda y, weights: (y * weights).sum(), wrt=0
    )
    return gradients, statistics


CALL, GRADIENTS = compiled(_call), compiled(_gradients)


def gradients_of(network: nnx.Module, x: np.ndarray, weights: np.ndarray) -> nnx.State:
    """Return the gradients of a weighted sum of the logits, and let the statistics move."""
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    gradients, statistics = GRADIENTS[str(x.dtype)](graphdef, params, rest, x, weights)
    nnx.update(network, statistics)
    return gradients


def _step(module: nnx.Module, x: np.ndarray | jax.Array) -> jax.Array:
    graphdef, state = nnx.split(module)
    return CALL[str(x.dtype)](graphdef, state, x)


def run_by_blocks(network: Any, image: np.ndarray) -> jax.Array:
    """Return the network's output; equal blocks are compiled once, however deep it is."""
    x = _step(network.stem, image)
    for stage in network.stages:
        if stage.downsample is not None:
            x = _step(stage.downsample, x)
        for block in stage.blocks:
            x = _step(block, x)
    return _step(network.head, x)


def logits_error(name: str, shape: tuple[int, int, int, int]) -> float:
    """Return how far the network's float64 logits are from its source's for a random image."""
    image = np.random.default_rng(1).normal(size=shape)
    twin = torch_network(name, image)
    network = flax_network(name, twin.state_dict())

    twin.eval()
    network.eval()
    if not isinstance(network, Segmenter):
        return _error(np.asarray(run_by_blocks(network, image)), run_torch(twin, image))
    with torch.no_grad(), ExactGradients():
        truth = {key: y.permute(0, 2, 3, 1).numpy() for key, y in twin(from_nhwc(image)).items()}
    logits: Any = _step(network, image)
    assert logits.keys() == truth.keys()
    return max(_error(np.asarray(logits[key]), truth[key]) for key in truth)


def _error(logits: np.ndarray, truth: np.ndarray) -> float:
    assert logits.dtype == truth.dtype == np.float64
    assert np.std(truth[0] - truth[1]) > 1e-3 * np.std(truth)  # the image is not lost on the way
    return measure.scaled_error(logits, truth)


def assert_same_logits(name: str, shape: tuple[int, int, int, int]) -> None:
    """Fail unless the network's logits for a random image equal its source's in float64."""
    assert logits_error(name, shape) <= bound("float64", "output")
