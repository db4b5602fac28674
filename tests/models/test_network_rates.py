"""Dropout and stochastic depth: torchvision's rates, and what they do."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

import flaxblocks as fb
from flaxblocks.models import Backbone
from tests.helpers.networks import PUBLISHED, SMALLEST, abstract, abstract_torch
from tests.helpers.tolerance import bound
from tests.helpers.typed import present

pytestmark = pytest.mark.usefixtures("quick")

SAMPLES = 4096
RATE = 0.3
WITH_DROP_PATH = ["resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"]
WITH_DROP_PATH += ["regnet_x_400mf", "convnext_tiny"]


def _blocks(network: Backbone) -> list[Any]:
    return [block for stage in network.stages for block in stage.blocks]


def _rate(module: nnx.Dropout | None) -> float:
    return module.rate if module is not None else 0.0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SMALLEST.values() else [pytest.mark.slow])
        for name in PUBLISHED
    ],
)
def test_default_rates_are_torchvisions(name: str):
    network, twin = abstract(name), abstract_torch(name)
    dropouts = [module.p for module in twin.modules() if isinstance(module, torch.nn.Dropout)]
    depths = [m.p for m in twin.modules() if isinstance(m, torchvision.ops.StochasticDepth)]
    blocks = _blocks(network)

    heads = [m for head in (network.head, *network.auxiliary) for _, m in nnx.iter_modules(head)]
    head = [m.rate for m in heads if isinstance(m, nnx.Dropout)]
    assert set(head) == set(dropouts) - {0.0}
    assert [_rate(getattr(block, "drop_path", None)) for block in blocks] == pytest.approx(
        depths or [0.0] * len(blocks), abs=1e-12
    )


@pytest.mark.parametrize("name", WITH_DROP_PATH)
def test_rates_can_be_chosen(name: str):
    network = nnx.eval_shape(
        lambda: fb.create_model(name, drop_rate=0.7, drop_path_rate=RATE, rngs=nnx.Rngs(0))
    )
    rates = [_rate(block.drop_path) for block in _blocks(network)]
    assert present(network.head.dropout).rate == 0.7
    assert rates == sorted(rates)
    assert rates[0] == 0 and RATE * (1 - 1 / len(rates)) <= rates[-1] <= RATE


def test_drops_as_often_as_the_rates_say():
    network = fb.create_model(
        "mobilenet_v3_small", drop_rate=RATE, drop_path_rate=RATE, rngs=nnx.Rngs(0)
    )
    depths = [block.drop_path for block in _blocks(network) if block.drop_path is not None]
    assert len(depths) == 10

    x = jnp.ones((SAMPLES, 1, 1, 1))
    for dropped, rate in [(depth(x), depth.rate) for depth in depths] + [
        (present(network.head.dropout)(x), RATE)
    ]:
        _assert_rate(np.asarray(dropped).ravel(), rate)


def _assert_rate(values: np.ndarray, rate: float) -> None:
    """Fail unless this part of the values is 0 and the others are rescaled."""
    standard_error = np.sqrt(rate * (1 - rate) / values.size)
    limit = bound("any", "statistic of a sample") * standard_error
    assert abs((values == 0).mean() - rate) <= limit
    np.testing.assert_allclose(values[values != 0], 1 / (1 - rate), rtol=1e-6)


def test_drops_in_train_mode_only():
    network = fb.create_model(
        "timm/test_efficientnet", drop_rate=RATE, drop_path_rate=RATE, rngs=nnx.Rngs(0)
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 33, 33, 3)), jnp.float32)
    run = nnx.jit(lambda network, x: network(x))
    assert not np.array_equal(run(network, x), run(network, x))
    network.eval()
    np.testing.assert_array_equal(run(network, x), run(network, x))
