"""Networks train as torchvision's do: gradients, statistics, dropout, rematerialization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

import flaxblocks as fb
from flaxblocks.models import Backbone
from parity.checks import measure
from parity.checks.tolerance import bound
from tests.helpers.networks import SMALLEST, flax_network, gradients_of, torch_network
from tests.helpers.typed import gradient_of
from torch_ref.harness.exact_gradients import ExactGradients
from torch_ref.harness.layout import from_nhwc

IMAGE = (3, 75, 65, 3)  # the last maps are 3x3: statistics over 27 values
QUICK = (
    "MobileNetV3",
)  # kernels of every kind, gates; the parts of the others have tests of their own
one_of_each_family = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=family, marks=[] if family in QUICK else [pytest.mark.slow])
        for family, name in SMALLEST.items()
    ],
)


def _torch_gradients(twin: torch.nn.Module, image: np.ndarray, weights: np.ndarray) -> dict:
    for module in twin.modules():
        if isinstance(module, torch.nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
    twin.train()
    with ExactGradients():
        loss = (twin(from_nhwc(image)) * torch.from_numpy(weights)).sum()
    loss.backward()
    return {name: gradient_of(param) for name, param in twin.named_parameters()}


@one_of_each_family
def test_gradients_and_statistics_equal_torchvisions(name: str, x64):
    rng = np.random.default_rng(1)
    image, weights = rng.normal(size=IMAGE), rng.normal(size=(IMAGE[0], 1000))
    twin = torch_network(name, image)
    network = flax_network(name, twin.state_dict())

    truth = _torch_gradients(twin, image, weights)
    network.train()
    gradients = gradients_of(network, image, weights)

    moved = fb.state_dict(network, names="torchvision")
    statistics = {key: value.numpy() for key, value in twin.named_buffers()}
    for key, value in statistics.items():
        limit = bound("float64", "statistic")
        assert measure.scaled_error(moved[key], value) <= limit, key
    nnx.update(network, gradients)  # so that the gradients get torchvision's names
    ours = fb.state_dict(network, names="torchvision")
    assert ours.keys() == truth.keys() | statistics.keys()
    _assert_same_gradients(ours, truth)


def _assert_same_gradients(ours: dict, truth: dict) -> None:
    largest = max(np.abs(value).max() for value in truth.values())
    for key, value in truth.items():
        # A shift that the next norm takes away has no gradient but what rounding leaves.
        scale = max(np.abs(value).max(), 1e-3 * largest)
        assert measure.scaled_error(ours[key], value, scale) <= bound("float64", "gradient"), key


@pytest.mark.slow
def test_rematerialization_changes_no_gradient_and_no_statistic(x64):
    rng = np.random.default_rng(1)
    image, weights = rng.normal(size=(2, 35, 33, 3)), rng.normal(size=(2, 1000))
    stored = torch_network("mobilenet_v3_small", image).state_dict()

    plain, again = (
        _after_a_step(flax_network("mobilenet_v3_small", stored), image, weights, enabled)
        for enabled in (False, True)
    )

    for ours, truth in zip(again, plain, strict=True):
        assert ours.keys() == truth.keys()
        _assert_same_gradients(ours, truth)


def _after_a_step(
    network: Backbone, image: np.ndarray, weights: np.ndarray, rematerialize: bool
) -> tuple[dict[tuple, np.ndarray], dict[tuple, np.ndarray]]:
    """Return the gradients and the statistics by their paths."""
    network.train()
    network.set_rematerialization(rematerialize)
    gradients = gradients_of(network, image, weights)
    statistics = nnx.state(network, nnx.BatchStat)
    return _arrays(gradients), _arrays(statistics)


def _arrays(state: nnx.State) -> dict[tuple, np.ndarray]:
    return {path: np.asarray(leaf.get_value()) for path, leaf in nnx.to_flat_state(state)}


@pytest.mark.parametrize("enabled", [False, True])
def test_rematerializes_each_stage_where_asked(enabled: bool):
    network = fb.create_model("mobilenet_v3_small", rngs=nnx.Rngs(0))
    network.set_rematerialization(enabled)
    network.eval()
    program = str(jax.make_jaxpr(network.features)(jnp.ones((1, 33, 33, 3))))
    assert program.count("remat") == (len(network.stages) if enabled else 0)
