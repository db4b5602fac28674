"""Fresh networks are drawn from the distributions that torchvision draws from."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

import flaxblocks as fb
from flaxblocks.layers.initializers import BLOCK, Normal, Uniform, kaiming_normal
from tests.helpers.arrays import assert_same_distribution
from tests.helpers.networks import SMALLEST

pytestmark = pytest.mark.usefixtures("quick")

QUICK = ("resnet18", "mobilenet_v3_small", "regnet_y_400mf")
DRAWN = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in SMALLEST.values()
]


@pytest.mark.parametrize("name", DRAWN)
def test_each_tensor_has_torchvisions_mean_and_deviation(name: str):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().state_dict()
    network = fb.create_model(name, rngs=nnx.Rngs(0))
    ours = fb.state_dict(network, names="torchvision")

    for key, value in theirs.items():
        assert_same_distribution(key, ours[key].astype(np.float64), value.double().numpy())


@pytest.mark.parametrize(
    "draw,dtype",
    [
        (Normal(0.3), jnp.float32),
        (Uniform(0.3), jnp.bfloat16),
        (partial(kaiming_normal, groups=3), jnp.float16),
    ],
)
def test_a_traced_draw_gives_the_same_bits(draw, dtype: type):
    key, shape = jax.random.key(7), (1, 1, 2, BLOCK)
    eager = draw(key, shape, dtype)
    traced = jax.jit(lambda key: draw(key, shape, dtype))(key)
    assert eager.shape == shape and eager.dtype == traced.dtype == dtype
    np.testing.assert_array_equal(np.asarray(eager), np.asarray(traced))
    first, second = np.array_split(np.asarray(eager).reshape(2, -1), 2)
    assert not np.array_equal(first, second)


def test_creation_compiles_few_programs_however_many_shapes_there_are():
    compiled = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        compiled.append(event == "/jax/core/compile/backend_compile_duration")

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        network = fb.create_model("mobilenet_v3_small", rngs=nnx.Rngs(0))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    shapes = {leaf.shape for leaf in jax.tree.leaves(nnx.state(network))}
    assert len(shapes) >= 60
    assert 1 <= sum(compiled) <= 12
